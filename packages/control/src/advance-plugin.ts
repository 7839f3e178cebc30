import { PluginState, type Plugin } from "@millrace/protocol";
import type { Hook, HookEnd } from "./hook-runner.ts";
import { nextPluginState, type PluginEvent } from "./plugin-states.ts";

/** What has to be done next for a plugin. */
export type NextStep =
  | { readonly kind: "settled" }
  /** Nothing but the record changes. */
  | { readonly kind: "move"; readonly plugin: Plugin }
  | { readonly kind: "hook"; readonly hook: Hook };

const noWorkerReason = "no worker is there to run";

/** The way from where a plugin is to where it is meant to be. */
export function nextStep(plugin: Plugin): NextStep {
  const { state, enabled, stateReason } = plugin;
  switch (state) {
    case PluginState.INSTALLED:
      // With a reason, it was found unfit, or waits for a worker: then it goes on if it is meant to serve.
      return enabled || stateReason === "" ? { kind: "hook", hook: "on_install" } : { kind: "settled" };
    case PluginState.RESOLVED:
      return enabled ? { kind: "move", plugin: moved(plugin, "enabled") } : { kind: "settled" };
    case PluginState.STARTING:
      return { kind: "hook", hook: "on_enable" };
    case PluginState.STOPPING:
      return { kind: "hook", hook: "on_disable" };
    default:
      return { kind: "settled" };
  }
}

/** The plugin after a hook. A plugin without a worker stays where it is, unless it stops. */
export function afterHook(plugin: Plugin, hook: Hook, end: HookEnd): Plugin {
  if (hook === "on_disable") return moved(plugin, "stopped");
  switch (end.kind) {
    case "done":
      return moved(plugin, hook === "on_install" ? "installed" : "started");
    case "failed":
      return { ...moved(plugin, "failed", end.reason), enabled: false };
    case "no worker": {
      const reason = `${noWorkerReason} ${hook}${plugin.enabled ? "; it is tried again" : ""}`;
      return plugin.stateReason === reason ? plugin : { ...plugin, stateReason: reason };
    }
  }
}

/** The plugin after an event, or the same object where the event cannot happen. */
export function moved(plugin: Plugin, event: PluginEvent, stateReason = ""): Plugin {
  const state = nextPluginState(plugin.state, event);
  return state === undefined ? plugin : { ...plugin, state, stateReason };
}
