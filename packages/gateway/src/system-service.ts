import { hostname } from "node:os";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { GetInfoResponseSchema, version, type SystemService } from "@millrace/protocol";
import type { ServiceImpl } from "@millrace/rpc";

/** Facts about this process, made once: the answer is frozen, so that its bytes are made once too. */
export function systemService(): ServiceImpl<typeof SystemService> {
  const info = Object.freeze(
    create(GetInfoResponseSchema, {
      name: "millrace",
      version,
      node: hostname(),
      startedAt: timestampFromMs(Date.now()),
    }),
  );
  return { getInfo: () => info };
}
