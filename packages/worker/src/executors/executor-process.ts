/**
 * What an executor's process runs: it passes messages between its pipes and the executor's thread, and tells what that thread
 * executes even while it is deaf. Ends with its parent. It holds no credentials and opens nothing.
 */
import { argv, exit, stdin, stdout } from "node:process";
import type { ExecutorProgress, ExecutorReply, ExecutorRequest } from "@millrace/plugin-host";
import { FrameReader, writeFrame } from "./frames.ts";
import { ThreadChannel } from "./thread-channel.ts";

/** How late the parent hears that a call executes. */
const progressMs = 10;

export type ProcessMessage = ExecutorReply | ({ readonly kind: "progress" } & ExecutorProgress);

const say = (message: ProcessMessage): void => writeFrame(stdout, message);

const channel = new ThreadChannel({
  onReply: say,
  onGone: (error) => {
    console.error(`executor of ${argv[1]}:`, error);
    exit(1);
  },
});
const reader = new FrameReader((message, buffer) => channel.post(message as ExecutorRequest, [buffer]));
stdin.on("data", (piece: Uint8Array) => reader.push(piece));
stdin.on("end", () => exit(0));

let told = -1;
let toldCall: number | undefined;
setInterval(() => {
  const { callId, begun } = channel.progress();
  if (callId === toldCall && begun === told) return;
  told = begun;
  toldCall = callId;
  say({ kind: "progress", callId, begun });
}, progressMs);
