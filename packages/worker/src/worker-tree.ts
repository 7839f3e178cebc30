import type { ActorSpec, SupervisorSpec } from "@millrace/actor";
import { decodeMadeAnew } from "@millrace/bus";
import {
  commandAllSubject,
  commandCancelSubject,
  commandSubject,
  decodeQueueSettings,
  type HoldsAnswer,
} from "@millrace/protocol";
import { pluginActors } from "./plugins/plugin-actors.ts";
import { parseCancelBroadcast, parseWorkerCommand, type WorkerCommand } from "./worker-command.ts";
import type { WorkerEngine } from "./worker-engine.ts";
import { WorkerPresence } from "./worker-presence.ts";

const encoder = new TextEncoder();
const quiet = { receive: (): void => undefined };

/** The supervision tree of a worker, as data. Started from the top, stopped from the bottom. */
export function workerTree(
  engine: WorkerEngine,
  carryOut: (command: WorkerCommand) => Promise<object>,
): SupervisorSpec {
  const { bus } = engine;

  /** First to start, so that the others have the broker's time, and last to stop. */
  const presence: ActorSpec = {
    name: "presence",
    async start() {
      const told = await WorkerPresence.start({
        bus,
        id: engine.settings.id,
        record: { queues: engine.settings.queues, formats: [] },
        onSkew: (skewMs) => engine.telemetry.clockSkew(skewMs),
        onTrouble: (error) => engine.telemetry.trouble("the worker cannot be announced; trying again", error),
      });
      return { ...quiet, stop: () => told[Symbol.asyncDispose]() };
    },
  };

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
        onEntry(key, entry) {
          const news = engine.marks.apply(key, entry?.value);
          // The broadcast that goes with a mark may get lost; the mark does not.
          if (news?.kind === "cancel") engine.cancel(news.id, news.run);
          else if (news?.kind === "bar") engine.dropBarred();
        },
      });
      const consumers = bus.kv("consumers").watch({
        onEntry(queue, entry) {
          if (entry !== undefined) engine.repeats.learnAnew(queue, decodeMadeAnew(entry.value));
        },
      });
      const queues = bus.kv("queues").watch({
        onEntry(queue, entry) {
          try {
            if (engine.intake.lanesOf(queue).length > 0) {
              engine.setPaused(queue, entry !== undefined && decodeQueueSettings(entry.value).paused);
            }
          } catch (error) {
            context.fail(error);
          }
        },
      });
      await Promise.all([marks.ready, consumers.ready, queues.ready]);
      return {
        ...quiet,
        stop: async () => {
          await Promise.all([marks, consumers, queues].map((watch) => watch[Symbol.asyncDispose]()));
        },
      };
    },
  };

  const intake: ActorSpec = {
    name: "intake",
    async start() {
      const taking = await engine.take();
      return {
        ...quiet,
        stop: async () => {
          await taking[Symbol.asyncDispose]();
        },
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
        // Whoever asks waits for half a second, and a command before it may take its time.
        if (command.command === "holds") return answer({ holds: engine.holds(command.ids) } satisfies HoldsAnswer);
        context.self
          .ask(command, { timeoutMs: engine.settings.drainTimeoutMs + 5000 })
          .then(answer, (error: unknown) => {
            answer({ error: error instanceof Error ? error.message : String(error) });
          });
      };
      const subscriptions = [
        bus.subscribe(commandCancelSubject, {}, (message) => {
          const { id, run } = parseCancelBroadcast(message.data);
          engine.cancel(id, run);
        }),
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
      presence,
      settler,
      leaseKeeper,
      settings,
      ...(engine.settings.executors > 0 ? pluginActors(engine) : []),
      intake,
      inbox as unknown as ActorSpec,
    ],
  };
}
