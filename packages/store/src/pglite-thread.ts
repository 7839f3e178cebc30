import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";

/**
 * Entry of the thread that runs PGlite. It speaks PostgreSQL's wire protocol (version 3) on a message port, one
 * session at a time, so that the same client library serves PGlite and a real server, and no query blocks the
 * event loop of the process.
 */
export interface PgliteThreadData {
  readonly dataDir: string;
}

/** To the thread: bytes of the session, or what became of it. */
export type ToPglite = { readonly bytes: Uint8Array } | "open" | "close-session" | "shut-down";

/** From the thread. */
export type FromPglite = { readonly bytes: Uint8Array } | { readonly failed: string } | "opened" | "shut-down";

// AuthenticationOk, then ReadyForQuery (idle).
const greeting = Uint8Array.of(0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49);
const SYNC = 0x53;
const QUERY = 0x51;
const TERMINATE = 0x58;

const port = parentPort;
if (port === null) throw new Error("pglite-thread runs in a worker thread only");
const { dataDir } = workerData as PgliteThreadData;

let greeted = false;
let pending = Buffer.alloc(0);

function send(message: FromPglite, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

function sendBytes(bytes: Uint8Array): void {
  // A view of the engine's memory: a copy of its own is what may be handed over.
  const own = new Uint8Array(bytes);
  send({ bytes: own }, [own.buffer]);
}

/** Bytes up to the end of the last message that asks for an answer: the engine must see such a group whole. */
function completeGroups(): number {
  let end = 0;
  let at = 0;
  while (pending.length - at >= 5) {
    const next = at + 1 + pending.readUInt32BE(at + 1);
    if (next > pending.length) break;
    const kind = pending[at];
    at = next;
    if (kind === SYNC || kind === QUERY || kind === TERMINATE) end = at;
  }
  return end;
}

async function receive(db: PGlite, bytes: Uint8Array): Promise<void> {
  pending = pending.length === 0 ? Buffer.from(bytes) : Buffer.concat([pending, bytes]);
  if (!greeted) {
    if (pending.length < 8 || pending.length < pending.readUInt32BE(0)) return;
    pending = pending.subarray(pending.readUInt32BE(0));
    greeted = true;
    sendBytes(greeting);
  }
  const end = completeGroups();
  if (end === 0) return;
  const group = pending.subarray(0, end);
  pending = pending.subarray(end);
  if (group.length === 5 && group[0] === TERMINATE) return;
  await db.execProtocolRawStream(group, { syncToFs: true, onRawData: sendBytes });
}

/** Whatever the last session left open is undone before another one begins. */
async function endSession(db: PGlite): Promise<void> {
  if (!greeted) return;
  greeted = false;
  pending = Buffer.alloc(0);
  await db.exec("ROLLBACK").catch(() => undefined);
  await db.exec("DISCARD ALL");
}

async function handle(db: PGlite, message: ToPglite): Promise<void> {
  if (message === "open") {
    await endSession(db);
    send("opened");
  } else if (message === "close-session") {
    await endSession(db);
  } else if (message === "shut-down") {
    await db.close();
    send("shut-down");
    port?.close();
  } else {
    await receive(db, message.bytes);
  }
}

const opening = PGlite.create({ dataDir });
let last: Promise<void> = opening.then(() => undefined);
port.on("message", (message: ToPglite) => {
  last = last
    .then(async () => handle(await opening, message))
    .catch((error: unknown) => send({ failed: wordsOf(error) }));
});

/** WASI's number for a full disk. */
const noSpace = 51;

/** Emscripten's file system throws objects with WASI's error numbers. */
function wordsOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  const { errno } = (error ?? {}) as { readonly errno?: unknown };
  if (errno === noSpace) return "no space is left on the disk";
  return errno === undefined ? String(error) : `error ${String(errno)} of its file system`;
}
