import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  fromWirePayload,
  JobErrorSchema,
  MillraceError,
  toWirePayload,
  type CallPluginRequest,
  type JobError,
  type Payload,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

interface CallPluginAnswer {
  readonly output?: Payload;
  readonly error?: JobError;
  readonly runUs: bigint;
  readonly logs: string[];
}

/** Runs one export once in a thread of its own. How the plugin fails is an answer, not an error. */
export async function callPlugin(context: ControlContext, request: CallPluginRequest): Promise<CallPluginAnswer> {
  const { plugin } = await context.plugins.get(request.name);
  const { manifest, sha256 } = plugin;
  if (manifest === undefined) throw new MillraceError("data_loss", `plugin ${request.name} has no manifest`);
  const module = await context.bus.modules.get(sha256);
  const result = await context.dryRunner.run({
    module,
    manifest,
    exportName: request.export,
    input: toWirePayload(request.input).bytes,
    timeoutMs: request.timeoutMs,
  });
  const runUs = BigInt(Math.round(result.durationUs));
  const logs = result.logs.map((entry) => `${entry.level}: ${entry.text}`);
  if (result.ok) return { output: fromWirePayload(result.output, ""), runUs, logs };
  const { breach } = result;
  const error = create(JobErrorSchema, {
    code: result.code,
    message: result.message,
    retryable: false,
    attempt: 1,
    at: timestampFromMs(Date.now()),
    ...(breach === undefined
      ? {}
      : { breach: { ...breach, figure: BigInt(Math.round(breach.figure)), limit: BigInt(Math.round(breach.limit)) } }),
  });
  return { error, runUs, logs };
}
