import { setTimeout as pause } from "node:timers/promises";
import { startCheckedSystem, type CheckedSystem } from "./checked-system.ts";
import { Clients } from "./clients.ts";
import type { Evidence, Fault, QueueCounts } from "./evidence.ts";
import { FaultLog } from "./fault-log.ts";
import { planFaults, type FaultKind, type PlannedFault } from "./fault-plan.ts";
import { injectFault, possibleFaults } from "./inject-fault.ts";
import { readBroker } from "./read-broker.ts";
import { readDatabase } from "./read-database.ts";
import { readExecutions } from "./read-executions.ts";
import { waitUntilQuiet } from "./wait-until-quiet.ts";
import { endKinds, WatchObserver } from "./watch-observer.ts";

export interface CheckOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly kills: number;
  /** Jobs a second, beside bursts. */
  readonly rate: number;
  readonly broker?: string | undefined;
  readonly cluster: boolean;
  /** One of each service; for a short run. */
  readonly single: boolean;
  readonly ackWaitMs: number;
  /** What may be done; everything that can be when left out. */
  readonly kinds?: readonly FaultKind[] | undefined;
  /** Jobs of the largest burst. */
  readonly mostBurst: number;
  /** Bound on what jobs wait for their time. */
  readonly mostDelayMs: number;
  /** Longest wait for the end of all jobs. */
  readonly quietMs: number;
  /** For logs and the handlers' file. */
  readonly folder: string;
  readonly onProgress: (text: string) => void;
  /** Called while everything still runs. @param again reads what is there by then */
  readonly afterwards?: (databaseUrl: string, again: () => Promise<Evidence>) => Promise<void>;
}

/** Each service has to say that it is ready in this time once nothing is wrong any more. */
const readyMs = 60_000;
/** The watcher may be so far behind the rows. */
const heardMs = 20_000;
const progressMs = 15_000;

/**
 * Runs the system under faults, and gathers what was promised and what came of it.
 * @returns undefined where no PostgreSQL is installed
 */
export async function runCheck(options: CheckOptions): Promise<Evidence | undefined> {
  const { seed, durationMs, kills, rate, mostBurst, mostDelayMs, folder, cluster, single, ackWaitMs, onProgress } =
    options;
  const incidents: string[] = [];
  const ended: { readonly text: string; readonly atMs: number }[] = [];
  const onIncident = (text: string): void => void ended.push({ text, atMs: Date.now() });
  const started = { broker: options.broker, cluster, smallDisk: options.kinds?.includes("disk full") ?? true };
  await using system = await startCheckedSystem({ ...started, single, ackWaitMs, folder, onIncident });
  if (system === undefined) return undefined;
  await using watch = new WatchObserver(system.admin, (text) => void incidents.push(text));
  await watch.listening;
  await using clients = await Clients.connect(system, {
    seed,
    rate,
    mostDelayMs,
  });
  const possible = possibleFaults(system);
  const kinds = options.kinds?.filter((kind) => possible.includes(kind)) ?? possible;
  const plan = planFaults({ seed, durationMs, kills, mostBurst, kinds });
  onProgress(`seed ${seed}: ${plan.length} faults in ${durationMs / 1000} s, of ${kinds.join(", ")}`);

  const inTurn = turns();
  const beginMs = Date.now();
  const faults: Fault[] = [];
  const progress = setInterval(() => {
    const accepted = clients.submissions.filter(({ sends }) => sends.some(({ outcome }) => outcome === "accepted"));
    onProgress(
      `${accepted.length} of ${clients.submissions.length} accepted, ${faults.length} of ${plan.length} faults`,
    );
  }, progressMs);
  try {
    const fault = async (planned: PlannedFault): Promise<void> => {
      const { kind, afterMs, burst } = planned;
      await pause(Math.max(0, beginMs + afterMs - Date.now()));
      await inTurn(kind, async () => {
        if (burst > 0) clients.burst(burst);
        const startMs = Date.now();
        const target = await injectFault(system, planned).catch((error: unknown) => {
          incidents.push(`${kind} at ${new Date(startMs).toISOString()} did not come to its end: ${String(error)}`);
          return "what did not come back";
        });
        faults.push({ kind, target, startMs, endMs: Date.now() });
        const seconds = (ms: number): string => ((ms - beginMs) / 1000).toFixed(1);
        onProgress(`${seconds(startMs)} to ${seconds(Date.now())} s: ${kind}, ${target}`);
      });
    };
    await Promise.all([clients.run(durationMs), ...plan.map(fault)]);
  } finally {
    clearInterval(progress);
  }
  onProgress(`${clients.submissions.length} jobs sent, waiting for their ends`);
  const log = new FaultLog(faults);
  for (const service of system.services) {
    await service.ready(readyMs).catch((error: unknown) => void incidents.push(`not ready again: ${String(error)}`));
  }
  await clients.finishCancels();
  const rows = clients.submissions.filter(({ sends }) => sends.some(({ outcome }) => outcome === "accepted")).length;
  const unrest = await waitUntilQuiet(system, { rows, timeoutMs: options.quietMs, onProgress });
  if (unrest !== undefined) incidents.push(unrest);
  const read = (): Promise<Evidence> => gather(system, clients, watch, faults, incidents);
  // A service may end while what it needs is away; whatever else ends it is a fault of its own.
  for (const { text, atMs } of ended) if (!log.anything(atMs, atMs)) incidents.push(text);
  const evidence = await read();
  await options.afterwards?.(system.database.url, read);
  return evidence;
}

/** One at a time of what would undo each other: nobody starts a broker that somebody else is about to kill. */
function turns(): (kind: FaultKind, work: () => Promise<void>) => Promise<void> {
  const last = new Map<string, Promise<void>>();
  return (kind, work) => {
    const group = /broker|disk|step/.test(kind) ? "broker" : /postgres/.test(kind) ? "postgres" : "";
    const name = group || (/service|rolling/.test(kind) ? "service" : kind);
    const turn = (last.get(name) ?? Promise.resolve()).then(work);
    last.set(name, turn);
    return turn;
  };
}

/** Reads everything that there is. */
async function gather(
  system: CheckedSystem,
  clients: Clients,
  watch: WatchObserver,
  faults: readonly Fault[],
  incidents: string[],
): Promise<Evidence> {
  const { rows, ownerCounts } = await readDatabase(system.database.url);
  // What cannot be read is wrong in itself; the rest is judged all the same.
  const orElse =
    <T>(what: string, instead: T) =>
    (error: unknown): T => {
      incidents.push(`${what} could not be read: ${String(error)}`);
      return instead;
    };
  const { stored, storedWhole, backlogs } = await readBroker(system.directServers).catch(
    orElse("the broker", { stored: [], storedWhole: false, backlogs: [] }),
  );
  const ids = rows.map(({ id }) => id);
  const deaf = await watch.missing(ids, heardMs);
  if (deaf.length > 0) {
    incidents.push(`the watcher had not heard of ${deaf.length} ends after ${heardMs} ms, such as of ${deaf[0]}`);
    watch.reconnect();
    await watch.missing(deaf, heardMs);
  }
  return {
    owners: Object.fromEntries(system.users.map(({ name, id }) => [name, id])),
    submissions: clients.submissions,
    executions: await readExecutions(system.executionsFile),
    rows,
    stored,
    storedWhole,
    watched: watch.heard,
    faults,
    queueCounts: await readQueueCounts(system).catch(orElse("the queues' counters", [])),
    ownerCounts,
    backlogs,
    incidents: [...incidents],
    answers: Object.fromEntries(clients.oddAnswers),
  };
}

async function readQueueCounts({ admin }: CheckedSystem): Promise<QueueCounts[]> {
  type Stats = { queue: string } & Record<string, unknown>;
  const { status, body } = await admin.call<{ queues?: Stats[] }>("GET", "/api/v1/queues");
  if (status !== 200) throw new Error(`the queues were answered ${status}`);
  return (body.queues ?? []).map(({ queue, ...stats }) => {
    const counts = [...countedStates].flatMap((state) => {
      const count = Number(stats[state] ?? 0);
      return count === 0 ? [] : [[state, count] as const];
    });
    return { queue, counts: Object.fromEntries(counts) };
  });
}

const countedStates = new Set([...endKinds, "scheduled", "queued", "running", "retrying"]);
