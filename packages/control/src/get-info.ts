import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { GetInfoResponseSchema, version, type GetInfoResponse } from "@millrace/protocol";

/** Made once: the answer never changes while the process lives. */
export function describeProcess(node: string): GetInfoResponse {
  return create(GetInfoResponseSchema, { name: "millrace", version, node, startedAt: timestampFromMs(Date.now()) });
}
