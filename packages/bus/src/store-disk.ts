import { statfs } from "node:fs/promises";
import type { BusLogger } from "./bus-logger.ts";

/** Figures of a file system, as `statfs` gives them. */
export interface DiskFigures {
  readonly blocks: number;
  /** Free, those for the administrator included. */
  readonly bfree: number;
  /** Free for everybody. */
  readonly bavail: number;
  readonly bsize: number;
}

export interface StoreDiskOptions {
  readonly logger: BusLogger;
  readonly everyMs?: number;
  /** Rejects when the disk cannot be read. */
  readonly read?: (folder: string) => Promise<DiskFigures>;
}

type Level = "room" | "alarm" | "full";

/** No system tells of a disk that fills up, so it is asked. */
const lookMs = 5000;
/** With less the broker stores nothing more, or will not soon. */
const full = { share: 0.02, bytes: 64 << 20 };
/** With less somebody should look. */
const alarm = { share: 0.05, bytes: 8 * 2 ** 30 };
/** Room is back with so much more than that. */
const margin = 1.1;

/**
 * How full the disk is that a broker on this machine keeps its streams on. A broker on a full disk goes on answering much of
 * what stores nothing, so that nobody else can tell why it does not store.
 */
export class StoreDisk implements Disposable {
  readonly #folder: string;
  readonly #logger: BusLogger;
  readonly #read: (folder: string) => Promise<DiskFigures>;
  readonly #timer: NodeJS.Timeout;
  #level: Level = "room";
  #words = "";
  #looking = false;

  constructor(folder: string, { logger, everyMs = lookMs, read = (path) => statfs(path) }: StoreDiskOptions) {
    this.#folder = folder;
    this.#logger = logger;
    this.#read = read;
    this.#timer = setInterval(() => void this.look(), everyMs);
    this.#timer.unref();
    void this.look();
  }

  /** That the disk is full; undefined while there is room. */
  get reason(): string | undefined {
    return this.#level === "full" ? this.#words : undefined;
  }

  /** That the disk fills up; undefined while there is room, and when it is full. */
  get alarm(): string | undefined {
    return this.#level === "alarm" ? this.#words : undefined;
  }

  /** Looks at once. Never rejects; does nothing while an earlier look hangs, as on a disk that does not answer. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.#judge(await this.#read(this.#folder));
    } catch (error) {
      this.#logger.debug({ folder: this.#folder, err: error }, "disk of the broker's store cannot be read");
    } finally {
      this.#looking = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #judge({ blocks, bfree, bavail, bsize }: DiskFigures): void {
    const freeBytes = bavail * bsize;
    const used = blocks - bfree;
    // As `df` counts.
    const percent = Math.min(100, Math.ceil((100 * used) / Math.max(1, used + bavail)));
    this.#words = `the disk of the broker's store is ${percent} % full (${this.#folder})`;
    const before = this.#level;
    this.#level = levelOf(freeBytes, blocks * bsize, before);
    if (this.#level === before) return;
    const figures = { folder: this.#folder, percent, freeBytes };
    if (this.#level === "full") this.#logger.error(figures, "disk of the broker's store is full: it stores nothing");
    else if (this.#level === "alarm") this.#logger.warn(figures, "disk of the broker's store fills up");
    else this.#logger.info(figures, "disk of the broker's store has room again");
  }
}

function levelOf(freeBytes: number, wholeBytes: number, before: Level): Level {
  const isBelow = ({ share, bytes }: typeof full, factor: number): boolean =>
    freeBytes < Math.min(share * wholeBytes, bytes) * factor;
  if (isBelow(full, before === "full" ? margin : 1)) return "full";
  return isBelow(alarm, before === "room" ? 1 : margin) ? "alarm" : "room";
}
