import { setTimeout as pause } from "node:timers/promises";
import type { Bus, StreamState } from "@millrace/bus";
import { eventsStream, jobLogs, MillraceError } from "@millrace/protocol";

/** From this share of its bytes on a log takes no new jobs from here: retries and repairs still fit. */
const fullShare = 0.85;
/** From this share on somebody should look. */
const alarmShare = 0.7;
/** A log has room again below its share less this. */
const marginShare = 0.05;
const lookMs = 2000;

type Level = "room" | "alarm" | "full";

interface Fill {
  readonly level: Level;
  readonly words: string;
}

/**
 * Looks after how full the logs are. EVENTS counts for all: an accepted job that nobody can tell of would be lost to the rows. The
 * broker tells nobody of it, so it is asked.
 */
export class LogPressure implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #everyMs: number;
  readonly #stop = new AbortController();
  readonly #fills = new Map<string, Fill>();
  readonly #subjects = new Map<string, number>();
  readonly #running: Promise<void>;
  #stores = true;

  constructor(bus: Bus, everyMs: number = lookMs) {
    this.#bus = bus;
    this.#everyMs = everyMs;
    this.#running = this.#run();
  }

  /** Which logs are full; empty while there is room. */
  get reason(): string {
    return this.#wordsOf("full");
  }

  /** Which logs are filling up; empty while there is room. */
  get alarm(): string {
    return this.#wordsOf("alarm");
  }

  /** How many subjects a log had messages on at the last look; Infinity before the first. */
  subjectsIn(log: string): number {
    return this.#subjects.get(log) ?? Infinity;
  }

  /** @param log that something new is to be stored in, beside what is told of it in EVENTS. @throws MillraceError unavailable */
  admit(log: string = eventsStream): void {
    for (const name of log === eventsStream ? [log] : [log, eventsStream]) {
      const fill = this.#fills.get(name);
      if (fill?.level === "full") throw new MillraceError("unavailable", fill.words, { retryAfterMs: 5000 });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #wordsOf(level: Level): string {
    const words = [...this.#fills.values()].filter((fill) => fill.level === level).map((fill) => fill.words);
    return words.join("; ");
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      for (const log of [...jobLogs, eventsStream]) {
        try {
          if (this.#bus.connected) this.#judge(log, await this.#bus.streamState(log));
        } catch (error) {
          // Not knowing is not being full; publishers hear from the broker itself.
          this.#bus.logger.debug({ log, err: error }, "fill of a log unknown");
        }
        if (signal.aborted) return;
      }
      this.#judgeStoring();
      await pause(this.#everyMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Health asks by itself; the log is to say it as well, once. */
  #judgeStoring(): void {
    const reason = this.#bus.unstored;
    if ((reason === undefined) === this.#stores) return;
    this.#stores = reason === undefined;
    if (reason === undefined) this.#bus.logger.info({}, "the broker stores again");
    else this.#bus.logger.error({ reason }, "the broker does not store");
  }

  #judge(log: string, { bytes, maxBytes, subjects }: StreamState): void {
    this.#subjects.set(log, subjects);
    const share = maxBytes > 0 ? bytes / maxBytes : 0;
    const before = this.#fills.get(log)?.level ?? "room";
    const level = levelOf(share, before);
    const percent = Math.floor(share * 100);
    const words = `log ${log} is ${level === "full" ? "nearly full" : "filling up"}: ${percent} % of ${maxBytes} bytes`;
    if (level === "room") this.#fills.delete(log);
    else this.#fills.set(log, { level, words });
    if (level === before) return;
    const figures = { log, bytes, maxBytes };
    if (level === "full") this.#bus.logger.warn(figures, "log nearly full: new jobs are refused");
    else if (level === "alarm") this.#bus.logger.warn(figures, "log fills up");
    else this.#bus.logger.info(figures, "log has room again");
  }
}

function levelOf(share: number, before: Level): Level {
  if (share >= (before === "full" ? fullShare - marginShare : fullShare)) return "full";
  return share >= (before === "room" ? alarmShare : alarmShare - marginShare) ? "alarm" : "room";
}
