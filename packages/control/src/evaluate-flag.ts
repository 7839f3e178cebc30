import { createHash } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import type { EvaluateFlagRequest } from "@millrace/protocol";
import { callerOf } from "@millrace/rpc";
import type { ControlContext } from "./control-context.ts";
import type { FlagState } from "./settings-mirror.ts";

/** From memory. */
export function evaluateFlag(
  { settings }: ControlContext,
  { name, userId }: EvaluateFlagRequest,
  call: HandlerContext,
): { enabled: boolean } {
  const user = userId || (callerOf(call)?.subject ?? "anonymous");
  return { enabled: isFlagOn(name, settings.flag(name), user) };
}

/** Each user has a place of their own between 0 and 100 for each flag; it is on for those below its share. */
export function isFlagOn(name: string, flag: FlagState | undefined, user: string): boolean {
  if (flag === undefined || !flag.enabled) return false;
  const hash = createHash("sha256").update(`${name}:${user}`).digest();
  return (hash.readUIntBE(0, 6) / 2 ** 48) * 100 < flag.percent;
}
