import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { basename } from "node:path";
import { parentPort } from "node:worker_threads";
import { hashSync, verifySync } from "@node-rs/argon2";
import { passwordCosts } from "./password-costs.ts";

/** Entry of a thread that hashes passwords, one after the other. */

/** To the thread. Without `encoded` a new hash is wanted, with it whether the password is its own. */
export interface HashWish {
  readonly password: string;
  readonly encoded?: string;
}

/** From the thread. */
export type HashAnswer = { readonly said: string | boolean } | { readonly failed: unknown };

/** 0 to 19: whatever else wants the core gets about three times this thread's share of it. */
const nice = 5;

const port = parentPort;
if (port === null) throw new Error("hash-thread runs in a worker thread only");
letOthersGoFirst();
port.on("message", (wish: HashWish) => port.postMessage(answer(wish)));

function answer({ password, encoded }: HashWish): HashAnswer {
  try {
    return { said: encoded === undefined ? hashSync(password, passwordCosts) : verifySync(encoded, password) };
  } catch (failed) {
    return { failed };
  }
}

/** On Linux, where a nice value belongs to a thread (sched(7)). */
function letOthersGoFirst(): void {
  try {
    setPriority(Number(basename(readlinkSync("/proc/thread-self"))), nice);
  } catch {
    // A courtesy: without it logins are as fast, and what runs beside them a little later.
  }
}
