import { PluginState } from "@millrace/protocol";

/** What happens to a plugin. */
export type PluginEvent =
  /** A first version, or one more while none serves. */
  | "uploaded"
  /** Another version takes over from the one that serves. */
  | "swapped"
  /** A version that was installed before takes over. */
  | "restored"
  /** on_install went well, or there is none. */
  | "installed"
  /** It is to serve. */
  | "enabled"
  /** on_enable went well, or there is none. */
  | "started"
  /** A hook failed. */
  | "failed"
  /** It is not to serve. */
  | "disabled"
  /** on_disable has ended, whatever came of it. */
  | "stopped"
  /** It may not run any more: its signature's key was revoked. */
  | "refused"
  | "deleted";

const { UNSPECIFIED: NONE, INSTALLED, RESOLVED, STARTING, ACTIVE, STOPPING, UNINSTALLED } = PluginState;

const moves: Readonly<Record<PluginEvent, Partial<Record<PluginState, PluginState>>>> = {
  uploaded: {
    [NONE]: INSTALLED,
    [INSTALLED]: INSTALLED,
    [RESOLVED]: INSTALLED,
    [STARTING]: INSTALLED,
    [ACTIVE]: INSTALLED,
    [STOPPING]: INSTALLED,
    [UNINSTALLED]: INSTALLED,
  },
  swapped: { [ACTIVE]: ACTIVE },
  restored: {
    [INSTALLED]: RESOLVED,
    [RESOLVED]: RESOLVED,
    [STARTING]: STARTING,
    [ACTIVE]: ACTIVE,
    [STOPPING]: STOPPING,
  },
  installed: { [INSTALLED]: RESOLVED },
  enabled: { [RESOLVED]: STARTING },
  started: { [STARTING]: ACTIVE },
  failed: { [INSTALLED]: INSTALLED, [STARTING]: RESOLVED },
  disabled: { [STARTING]: STOPPING, [ACTIVE]: STOPPING },
  stopped: { [STOPPING]: RESOLVED },
  refused: {
    [INSTALLED]: INSTALLED,
    [RESOLVED]: INSTALLED,
    [STARTING]: INSTALLED,
    [ACTIVE]: INSTALLED,
    [STOPPING]: INSTALLED,
  },
  deleted: {
    [INSTALLED]: UNINSTALLED,
    [RESOLVED]: UNINSTALLED,
    [STARTING]: UNINSTALLED,
    [ACTIVE]: UNINSTALLED,
    [STOPPING]: UNINSTALLED,
  },
};

/** The one rule of a plugin's life. @returns undefined when the event cannot happen in that state */
export function nextPluginState(state: PluginState, event: PluginEvent): PluginState | undefined {
  return moves[event][state];
}
