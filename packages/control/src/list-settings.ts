import { MillraceError, type Setting } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { settingMessage } from "./setting-message.ts";

/** Of this process, with what the database holds. */
export async function listSettings({ live, store }: ControlContext): Promise<{ settings: Setting[] }> {
  const stored = new Map((await store.settings.list()).map(({ name, updatedAtMs }) => [name, updatedAtMs]));
  return { settings: live.list().map((view) => settingMessage(view, stored.get(view.name))) };
}

/** @throws MillraceError not_found */
export async function getSetting(context: ControlContext, name: string): Promise<Setting> {
  const setting = (await listSettings(context)).settings.find((one) => one.name === name);
  if (setting === undefined) throw new MillraceError("not_found", `no setting ${name}`);
  return setting;
}

/** @throws MillraceError not_found, failed_precondition for one that is read at the start only */
export function requireChangeable({ live }: ControlContext, name: string): void {
  const setting = live.list().find((one) => one.name === name);
  if (setting === undefined) throw new MillraceError("not_found", `no setting ${name}`);
  if (setting.changeable) return;
  throw new MillraceError(
    "failed_precondition",
    `${name} is read when a process starts: set ${setting.variable} and start it again`,
  );
}
