import { create, fromJsonString } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  MillraceError,
  ProcessSettingSchema,
  ProcessSettingsSchema,
  type ProcessSettings,
  type Setting,
} from "@millrace/protocol";
import { settingMessage } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { nearestName } from "./nearest-name.ts";

/** Of this process, with what the database holds and what the other processes say. */
export async function listSettings({ live, store, bus }: ControlContext): Promise<{ settings: Setting[] }> {
  const stored = new Map((await store.settings.list()).map(({ name, updatedAtMs }) => [name, updatedAtMs]));
  const all = new Map(live.list().map((view) => [view.name, settingMessage(view, stored.get(view.name))]));
  for (const { process, node, settings } of await processes(bus)) {
    for (const setting of settings) {
      const { name, value, source } = setting;
      const listed = all.get(name);
      const one = create(ProcessSettingSchema, { process, node, source, ...(value === undefined ? {} : { value }) });
      if (listed === undefined) all.set(name, { ...setting, processes: [one] });
      else listed.processes.push(one);
    }
  }
  return { settings: [...all.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** @throws MillraceError not_found */
export async function getSetting(context: ControlContext, name: string): Promise<Setting> {
  const { settings } = await listSettings(context);
  const setting = settings.find((one) => one.name === name);
  if (setting === undefined) throw unknownSetting(name, settings);
  return setting;
}

/** @throws MillraceError not_found, failed_precondition for one that is read at the start only */
export async function requireChangeable(context: ControlContext, name: string): Promise<void> {
  const { changeable, variable } = await getSetting(context, name);
  if (changeable) return;
  throw new MillraceError(
    "failed_precondition",
    `${name} is read when a process starts: set ${variable} and start it again`,
    { details: [{ field: "name", reason: `is read when a process starts: set ${variable} and start it again` }] },
  );
}

/** Each says a few kilobytes. */
const mostProcesses = 500;

async function processes(bus: Bus): Promise<ProcessSettings[]> {
  // It would wait for the connection; what this process knows can be told without.
  if (!bus.connected) return [];
  const entries = (await bus.kv("processes").entries()).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  return entries.slice(0, mostProcesses).flatMap(({ key, value }) => {
    const said = parse(value);
    // A process may write under its own name only, so nobody speaks for another.
    if (said !== undefined && key === `${said.process}.${said.node}`) return [said];
    bus.logger.warn({ key }, "what a process says of its settings cannot be used");
    return [];
  });
}

function parse(value: Uint8Array): ProcessSettings | undefined {
  try {
    return fromJsonString(ProcessSettingsSchema, new TextDecoder().decode(value), { ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}

function unknownSetting(name: string, settings: readonly Setting[]): MillraceError {
  const near = nearestName(
    name,
    settings.map((one) => one.name),
  );
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  return new MillraceError("not_found", `no setting ${name}${hint}`, {
    details: near === undefined ? [] : [{ field: "name", reason: `did you mean ${near}?` }],
  });
}
