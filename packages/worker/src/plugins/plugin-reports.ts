import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import { hookExports, type CallResult, type LogEntry } from "@millrace/plugin-host";
import { PluginLogBatchSchema, pluginLogSubject, PluginStatsSchema, pluginStatsSubject } from "@millrace/protocol";
import type { PluginCall } from "../executors/plugin-call.ts";
import type { RunnableVersion } from "./runnable-version.ts";

/** A canary is judged, and taken back, by these: the sooner, the fewer jobs fail. */
const statsEveryMs = 250;
const logsEveryMs = 100;
/** Lines of one version between two batches; more are dropped and counted. */
const mostLogLines = 1000;
const mostLogBytes = 512 << 10;

interface Tally {
  calls: number;
  failures: number;
  fuel: number;
  runUs: number;
  readonly codes: Map<string, number>;
}

interface LogLine {
  readonly atMs: number;
  readonly jobId: string;
  readonly level: string;
  readonly text: string;
}

interface LogBatch {
  readonly lines: LogLine[];
  bytes: number;
  dropped: number;
}

/** Tells, for each version, how its calls fared and what they logged. At most once: nobody may be listening. */
export class PluginReports implements Disposable {
  readonly #bus: Bus;
  readonly #redact: (text: string) => string;
  readonly #tallies = new Map<RunnableVersion, Tally>();
  readonly #logs = new Map<RunnableVersion, LogBatch>();
  #statsTimer: NodeJS.Timeout | undefined;
  #logsTimer: NodeJS.Timeout | undefined;

  constructor(bus: Bus, redact: (text: string) => string) {
    this.#bus = bus;
    this.#redact = redact;
  }

  /** @returns the lines that the call logged, fit to be seen */
  ended({ version, exportName, job }: PluginCall, result: CallResult): readonly LogEntry[] {
    // How hooks fare says nothing of the work that a canary is judged by.
    if (!hookExports.includes(exportName)) this.#count(version, result);
    if (result.logs.length === 0) return result.logs;
    const logs = result.logs.map(({ level, text }) => ({ level, text: this.#redact(text) }));
    this.#log(version, job?.id ?? "", logs);
    return logs;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#statsTimer);
    clearTimeout(this.#logsTimer);
    this.#tellStats();
    this.#tellLogs();
  }

  #count(version: RunnableVersion, result: CallResult): void {
    const tally = this.#tallies.get(version) ?? this.#beginTally(version);
    tally.calls++;
    tally.fuel += result.fuel;
    tally.runUs += result.durationUs;
    if (!result.ok && result.code !== "CANCELLED") {
      tally.failures++;
      tally.codes.set(result.code, (tally.codes.get(result.code) ?? 0) + 1);
    }
  }

  #beginTally(version: RunnableVersion): Tally {
    const tally = { calls: 0, failures: 0, fuel: 0, runUs: 0, codes: new Map<string, number>() };
    this.#tallies.set(version, tally);
    this.#statsTimer ??= setTimeout(() => this.#tellStats(), statsEveryMs);
    return tally;
  }

  #tellStats(): void {
    this.#statsTimer = undefined;
    for (const [{ name, manifest, version }, { calls, failures, fuel, runUs, codes }] of this.#tallies) {
      const stats = create(PluginStatsSchema, {
        name,
        version: manifest.version,
        sha256: version.sha256,
        calls: BigInt(calls),
        failures: BigInt(failures),
        fuel: BigInt(Math.round(fuel)),
        runUs: BigInt(Math.round(runUs)),
        failuresByCode: Object.fromEntries([...codes].map(([code, count]) => [code, BigInt(count)])),
      });
      this.#bus.publish(pluginStatsSubject(name), toBinary(PluginStatsSchema, stats));
    }
    this.#tallies.clear();
  }

  #log(version: RunnableVersion, jobId: string, logs: readonly LogEntry[]): void {
    let batch = this.#logs.get(version);
    if (batch === undefined) this.#logs.set(version, (batch = { lines: [], bytes: 0, dropped: 0 }));
    this.#logsTimer ??= setTimeout(() => this.#tellLogs(), logsEveryMs);
    const atMs = Date.now();
    for (const { level, text } of logs) {
      if (batch.lines.length >= mostLogLines || batch.bytes + text.length > mostLogBytes) {
        batch.dropped++;
        continue;
      }
      batch.lines.push({ atMs, jobId, level, text });
      batch.bytes += text.length;
    }
  }

  #tellLogs(): void {
    this.#logsTimer = undefined;
    for (const [{ name, manifest }, { lines, dropped }] of this.#logs) {
      if (dropped > 0)
        lines.push({ atMs: Date.now(), jobId: "", level: "warn", text: `${dropped} more lines were dropped` });
      const batch = create(PluginLogBatchSchema, { name, version: manifest.version, entries: lines });
      this.#bus.publish(pluginLogSubject(name), toBinary(PluginLogBatchSchema, batch));
    }
    this.#logs.clear();
  }
}
