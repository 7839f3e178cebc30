import fc from "fast-check";
import { expect, test } from "vitest";
import type { ActorRef, ActorSpec, ExitReason } from "./actor-ref.ts";
import { ActorSystem, type ActorSystemOptions } from "./actor-system.ts";
import type { RemoteHandler, RemoteTransport } from "./remote-transport.ts";
import type { ChildSpec, Strategy, SupervisorSpec } from "./supervisor.ts";

const fast = { baseDelayMs: 0, maxDelayMs: 0, maxRestarts: 100, withinMs: 60_000 };

function tree(children: readonly ChildSpec[], strategy: Strategy = "one_for_one", limits = fast): SupervisorSpec {
  return { kind: "supervisor", name: "root", strategy, limits, children };
}

async function started(spec: SupervisorSpec, options?: ActorSystemOptions): Promise<ActorSystem> {
  const system = new ActorSystem(spec, options);
  await system.start();
  return system;
}

/** Answers with the number of messages seen; throws on "crash". Notes its starts and stops. */
function counter(name: string, log: string[] = [], more: Partial<ActorSpec<string, number>> = {}): ActorSpec {
  const spec: ActorSpec<string, number> = {
    name,
    start: () => {
      log.push(`+${name}`);
      let seen = 0;
      return {
        receive(message) {
          if (message === "crash") throw new Error("crash");
          return ++seen;
        },
        stop: () => void log.push(`-${name}`),
      };
    },
    ...more,
  };
  return spec as unknown as ActorSpec;
}

test("starts in order and stops in reverse", async () => {
  const log: string[] = [];
  await using system = await started(tree([counter("a", log), counter("b", log), counter("c", log)]));
  await system[Symbol.asyncDispose]();
  expect(log).toEqual(["+a", "+b", "+c", "-c", "-b", "-a"]);
});

test("one message at a time, in the order sent", async () => {
  let running = 0;
  const seen: number[] = [];
  const spec: ActorSpec<number> = {
    name: "a",
    start: () => ({
      async receive(n) {
        expect(++running).toBe(1);
        await Promise.resolve();
        seen.push(n);
        running--;
      },
    }),
  };
  await using system = await started(tree([spec as unknown as ActorSpec]));
  const ref = system.lookup<number>("root/a");
  for (let i = 0; i < 600; i++) ref.tell(i);
  await ref.ask(600, { timeoutMs: 1000 });
  expect(seen).toEqual(Array.from({ length: 601 }, (_, i) => i));
});

test("a full mailbox pushes back; send waits for room", async () => {
  const gate = Promise.withResolvers<void>();
  const spec: ActorSpec<string> = { name: "a", mailboxSize: 2, start: () => ({ receive: () => gate.promise }) };
  await using system = await started(tree([spec as unknown as ActorSpec]));
  const ref = system.lookup<string>("root/a");
  expect(ref.tell("in hand")).toBe(true);
  await Promise.resolve();
  await Promise.resolve();
  expect(ref.tell("1")).toBe(true);
  expect(ref.tell("2")).toBe(true);
  expect(ref.tell("3")).toBe(false);
  const waiting = ref.send("3");
  gate.resolve();
  await waiting;
});

test("ask rejects at its deadline, and with the cause of a failure", async () => {
  const spec: ActorSpec<string> = {
    name: "a",
    stopTimeoutMs: 1,
    start: () => ({ receive: (m) => (m === "hang" ? new Promise(() => {}) : Promise.reject(new Error("no"))) }),
  };
  await using system = await started(tree([spec as unknown as ActorSpec]));
  const ref = system.lookup<string>("root/a");
  await expect(ref.ask("fail", { timeoutMs: 1000 })).rejects.toMatchObject({
    code: "FAILED",
    cause: { message: "no" },
  });
  await expect(ref.ask("hang", { timeoutMs: 5 })).rejects.toMatchObject({ code: "ASK_TIMEOUT" });
  await expect(system.lookup("root/nobody").ask("x", { timeoutMs: 5 })).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("the mailbox survives a restart, the state does not", async () => {
  await using system = await started(tree([counter("a")]));
  const ref = system.lookup<string, number>("root/a");
  expect(await ref.ask("x", { timeoutMs: 1000 })).toBe(1);
  ref.tell("crash");
  expect(await ref.ask("x", { timeoutMs: 1000 })).toBe(1);
  expect(system.health()).toMatchObject({ ok: true, children: [{ path: "root/a", restarts: 1 }] });
});

test("each strategy restarts exactly whom it says, in order", async () => {
  const names = ["a", "b", "c", "d"];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Strategy>("one_for_one", "one_for_all", "rest_for_one"),
      fc.integer({ min: 0, max: 3 }),
      async (strategy, victim) => {
        const log: string[] = [];
        const specs = names.map((name) => counter(name, log));
        await using system = await started(tree(specs, strategy));
        log.length = 0;
        const ref = system.lookup<string, number>(`root/${names[victim]}`);
        ref.tell("crash");
        await ref.ask("x", { timeoutMs: 1000 });
        await system.lookup<string, number>("root/d").ask("x", { timeoutMs: 1000 });
        const affected =
          strategy === "one_for_one" ? [names[victim]] : strategy === "one_for_all" ? names : names.slice(victim);
        expect(log).toEqual([...[...affected].reverse().map((n) => `-${n}`), ...affected.map((n) => `+${n}`)]);
      },
    ),
    { numRuns: 30 },
  );
});

test("too many restarts escalate to the parent, and at the root end the system", async () => {
  const log: string[] = [];
  const given = Promise.withResolvers<unknown>();
  const inner: SupervisorSpec = {
    ...tree([counter("a", log)], "one_for_one", { ...fast, maxRestarts: 1 }),
    name: "inner",
  };
  const outer = tree([inner], "one_for_one", { ...fast, maxRestarts: 1 });
  const failures: string[] = [];
  await using system = await started(outer, {
    onGivenUp: given.resolve,
    onFailure(path) {
      failures.push(path);
      system.lookup<string>("root/inner/a").tell("crash");
    },
  });
  system.lookup<string>("root/inner/a").tell("crash");
  const pump = setInterval(() => system.lookup<string>("root/inner/a").tell("crash"), 1);
  await expect(given.promise).resolves.toMatchObject({ code: "TOO_MANY_RESTARTS" });
  clearInterval(pump);
  expect(failures.filter((p) => p === "root/inner").length).toBe(2);
  expect(log.filter((l) => l === "+a").length).toBe(4);
});

test("transient and temporary children are not restarted after a good end", async () => {
  const stopper = (name: string, restart: "transient" | "temporary"): ActorSpec => ({
    name,
    restart,
    start: (context) => ({ receive: () => context.stop() }),
  });
  await using system = await started(tree([stopper("t", "transient"), stopper("u", "temporary")]));
  const ended = (path: string): Promise<ExitReason> =>
    new Promise((resolve) => {
      const spec: ActorSpec<string> = {
        name: `watch-${path.at(-1)}`,
        start: (context) => ({
          receive: () => context.watch(system.lookup(path)),
          terminated: (_ref, reason) => resolve(reason),
        }),
      };
      void system
        .supervisor("root")
        .spawn(spec)
        .then((ref) => ref.ask("go", { timeoutMs: 1000 }));
    });
  const ends = [ended("root/t"), ended("root/u")];
  await Promise.resolve();
  system.lookup<string>("root/t").tell("x");
  system.lookup<string>("root/u").tell("x");
  expect(await Promise.all(ends)).toEqual([{ kind: "stopped" }, { kind: "stopped" }]);
  expect(system.lookup<string>("root/t").tell("x")).toBe(false);
});

test("an actor that will not stop does not hold up the house", async () => {
  const spec: ActorSpec<string> = {
    name: "a",
    stopTimeoutMs: 5,
    start: () => ({ receive: () => new Promise(() => {}) }),
  };
  await using system = await started(tree([spec as unknown as ActorSpec]));
  const ref = system.lookup<string>("root/a");
  const asked = ref.ask("hang", { timeoutMs: 200 });
  const queued = ref.ask("queued", { timeoutMs: 10_000 });
  asked.catch(() => {});
  queued.catch(() => {});
  await Promise.resolve();
  await system[Symbol.asyncDispose]();
  await expect(queued).rejects.toMatchObject({ code: "STOPPED" });
});

/** Two systems joined by function calls. */
function wires(): (node: string) => RemoteTransport {
  const handlers = new Map<string, RemoteHandler>();
  return (node) => ({
    node,
    listen(handler) {
      handlers.set(node, handler);
      return () => handlers.delete(node);
    },
    tell: (to, path, message) => handlers.get(to)?.tell(path, structuredClone(message)) ?? false,
    ask: async (to, path, message, timeoutMs) => handlers.get(to)?.ask(path, structuredClone(message), timeoutMs),
    watch: (to, path, onEnd) => handlers.get(to)?.watch(path, onEnd) ?? (() => {}),
  });
}

test("a remote reference is sent to and watched like a local one", async () => {
  const wire = wires();
  await using far = await started(tree([counter("a")]), { transport: wire("far") });
  await using near = await started(tree([]), { transport: wire("near") });
  const ref: ActorRef<string, number> = near.lookup("actor.far.root/a");
  expect(await ref.ask("x", { timeoutMs: 1000 })).toBe(1);
  expect(ref.tell("x")).toBe(true);
  expect(await ref.ask("x", { timeoutMs: 1000 })).toBe(3);
  const end = Promise.withResolvers<ExitReason>();
  const watcher: ActorSpec<string> = {
    name: "w",
    start(context) {
      context.watch(ref);
      return { receive() {}, terminated: (_ref, reason) => end.resolve(reason) };
    },
  };
  await near.supervisor("root").spawn(watcher);
  await far.supervisor("root").stopChild("a");
  expect(await end.promise).toEqual({ kind: "stopped" });
});
