import type { ActorSpec, ChildSpec } from "@millrace/actor";
import type { KvEntry } from "@millrace/bus";
import type { WorkerEngine } from "../worker-engine.ts";
import { serveInvocations } from "./invoke-endpoint.ts";

/** Keys expire without anybody saying so. */
const verifyEveryMs = 30_000;

type CatalogMessage = "verify" | { readonly name: string; readonly entry: KvEntry | undefined };

/** The branch of a worker's tree that runs plugins. */
export function pluginActors(engine: WorkerEngine): ChildSpec[] {
  const { catalog, keys, pool } = engine.plugins;
  const trouble = (what: string) => (error: unknown) => engine.telemetry.trouble(what, error);

  /** One record at a time: a version is made ready before the next change is looked at. */
  const catalogActor: ActorSpec<CatalogMessage> = {
    name: "plugin-catalog",
    mailboxSize: 4096,
    async start(context) {
      const tell = (message: CatalogMessage): void => {
        if (!context.self.tell(message)) context.fail(new Error("more plugin records than the mailbox holds"));
      };
      // Keys first: a plugin is not to be refused for a key that is only on its way.
      const trusted = keys.watch(
        () => {
          catalog.distrust().catch(context.fail);
          tell("verify");
        },
        (keyId, error) => trouble(`key ${keyId} cannot be read`)(error),
      );
      await trusted.ready;
      const records = catalog.watch((name, entry) => tell({ name, entry }));
      await records.ready;
      const timer = setInterval(() => tell("verify"), verifyEveryMs);
      return {
        receive: (message) => (message === "verify" ? catalog.verify() : catalog.apply(message.name, message.entry)),
        stop: async () => {
          clearInterval(timer);
          await Promise.all([records, trusted].map((watch) => watch[Symbol.asyncDispose]()));
        },
        health: () => ({ ok: true, detail: catalog.plugins.join(", ") }),
      };
    },
  };

  const invocations: ActorSpec = {
    name: "invocations",
    start() {
      const serving = serveInvocations({
        bus: engine.bus,
        catalog,
        invoke: (call) => pool.invoke(call),
        onTrouble: trouble("an invocation cannot be answered"),
      });
      return { receive: () => undefined, stop: () => serving[Symbol.dispose]() };
    },
  };

  return [catalogActor as unknown as ActorSpec, pool.spec(), invocations];
}
