import { PluginState } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nextPluginState, type PluginEvent } from "./plugin-states.ts";

const events: readonly PluginEvent[] = [
  "uploaded",
  "swapped",
  "restored",
  "installed",
  "enabled",
  "started",
  "failed",
  "disabled",
  "stopped",
  "refused",
  "deleted",
];

/** The states that a run of events leads through; events that cannot happen are left out. */
function walk(run: readonly PluginEvent[]): { event: PluginEvent; from: PluginState; to: PluginState }[] {
  let state: PluginState = PluginState.UNSPECIFIED;
  return run.flatMap((event) => {
    const to = nextPluginState(state, event);
    if (to === undefined) return [];
    const step = { event, from: state, to };
    state = to;
    return [step];
  });
}

const runs = fc.array(fc.constantFrom(...events), { maxLength: 60 });

test("a plugin begins to serve only after it was installed and started", () => {
  fc.assert(
    fc.property(runs, (run) => {
      const steps = walk(run);
      for (const [index, { event, from, to }] of steps.entries()) {
        if (to !== PluginState.ACTIVE || from === PluginState.ACTIVE) continue;
        expect(event).toBe("started");
        const since = steps.slice(0, index).map((step) => step.event);
        const lastUpload = since.lastIndexOf("uploaded");
        const lastFit = since.findLastIndex((past) => past === "installed" || past === "restored");
        expect(lastFit).toBeGreaterThan(lastUpload);
      }
    }),
  );
});

test("what was deleted comes back by an upload only, and what may not run by being installed again", () => {
  fc.assert(
    fc.property(runs, (run) => {
      for (const { event, from, to } of walk(run)) {
        if (from === PluginState.UNINSTALLED) expect(event).toBe("uploaded");
        if (event === "refused" || event === "uploaded") expect(to).toBe(PluginState.INSTALLED);
        if (from === PluginState.INSTALLED && to === PluginState.RESOLVED) {
          expect(["installed", "restored"]).toContain(event);
        }
      }
    }),
  );
});

test("from everywhere a plugin can be brought to serve, and be deleted", () => {
  fc.assert(
    fc.property(runs, (run) => {
      const steps = walk(["uploaded", ...run]);
      const state = steps.at(-1)?.to ?? PluginState.UNSPECIFIED;
      const again = state === PluginState.ACTIVE ? [] : ["uploaded" as const, "installed" as const];
      const path: PluginEvent[] = state === PluginState.ACTIVE ? [] : [...again, "enabled", "started"];
      const end = walk(["uploaded", ...run, ...path]).at(-1)?.to;
      expect(end).toBe(PluginState.ACTIVE);
      expect(walk(["uploaded", ...run, ...path, "deleted"]).at(-1)?.to).toBe(PluginState.UNINSTALLED);
    }),
  );
});
