import type { ActorSpec, SupervisorSpec } from "@millrace/actor";
import { commandAllSubject, commandCancelSubject, commandSubject, decodeQueueSettings } from "@millrace/protocol";
import { pluginActors } from "./plugins/plugin-actors.ts";
import { parseWorkerCommand, type WorkerCommand } from "./worker-command.ts";
import type { WorkerEngine } from "./worker-engine.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const quiet = { receive: (): void => undefined };

/** The supervision tree of a worker, as data. Started from the top, stopped from the bottom. */
export function workerTree(
  engine: WorkerEngine,
  carryOut: (command: WorkerCommand) => Promise<object>,
): SupervisorSpec {
  const { bus } = engine;

  /** Keeps the outcomes flowing; what was acked just before a connection was lost is acked again, by its old or its next delivery. */
  const settler: ActorSpec = {
    name: "settler",
    start() {
      const status = bus.onStatus((now) => {
        if (now.connected) engine.settler.repeatAcks();
      });
      return { ...quiet, stop: () => status[Symbol.dispose]() };
    },
  };

  const leaseKeeper: ActorSpec = {
    name: "lease-keeper",
    start(context) {
      const ticking = engine.leases.start(context.fail);
      return {
        ...quiet,
        stop: () => ticking[Symbol.dispose](),
        health: () => ({ ok: true, detail: `${engine.leases.size} leases` }),
      };
    },
  };

  const settings: ActorSpec = {
    name: "settings",
    async start(context) {
      const marks = bus.kv("cancel").watch({
        onEntry(id, entry) {
          if (entry === undefined) engine.marks.delete(id);
          else {
            engine.marks.add(id);
            // The broadcast that goes with a mark may get lost; the mark does not.
            engine.cancel(id);
          }
        },
      });
      const queues = bus.kv("queues").watch({
        onEntry(queue, entry) {
          try {
            if (engine.settings.queues.includes(queue)) {
              engine.setPaused(queue, entry !== undefined && decodeQueueSettings(entry.value).paused);
            }
          } catch (error) {
            context.fail(error);
          }
        },
      });
      await Promise.all([marks.ready, queues.ready]);
      return {
        ...quiet,
        stop: async () => {
          await marks[Symbol.asyncDispose]();
          await queues[Symbol.asyncDispose]();
        },
      };
    },
  };

  const intake: ActorSpec = {
    name: "intake",
    start() {
      const pulling = engine.intake.start();
      return {
        ...quiet,
        stop: () => pulling[Symbol.dispose](),
        health: () => ({ ok: bus.connected, detail: `${engine.waiting} waiting` }),
      };
    },
  };

  /** Commands come one at a time and are answered when they are done. */
  const inbox: ActorSpec<WorkerCommand, object> = {
    name: "command-inbox",
    mailboxSize: 256,
    start(context) {
      const take = (data: Uint8Array, reply: string): void => {
        const answer = (value: object): void => {
          if (reply !== "") bus.publish(reply, encoder.encode(JSON.stringify(value)));
        };
        const command = parseWorkerCommand(data);
        if (command === undefined) return answer({ error: "not a worker command" });
        context.self
          .ask(command, { timeoutMs: engine.settings.drainTimeoutMs + 5000 })
          .then(answer, (error: unknown) => {
            answer({ error: error instanceof Error ? error.message : String(error) });
          });
      };
      const subscriptions = [
        bus.subscribe(commandCancelSubject, {}, (message) => engine.cancel(decoder.decode(message.data))),
        bus.subscribe(commandAllSubject, {}, (message) => take(message.data, message.reply)),
        bus.subscribe(commandSubject(engine.settings.id), {}, (message) => take(message.data, message.reply)),
      ];
      return {
        receive: carryOut,
        stop: () => {
          for (const subscription of subscriptions) subscription[Symbol.dispose]();
        },
      };
    },
  };

  return {
    kind: "supervisor",
    name: "worker",
    strategy: "one_for_one",
    limits: { maxRestarts: 20, withinMs: 60_000 },
    children: [
      settler,
      leaseKeeper,
      settings,
      ...(engine.settings.executors > 0 ? pluginActors(engine) : []),
      intake,
      inbox as unknown as ActorSpec,
    ],
  };
}
