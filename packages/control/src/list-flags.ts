import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { FlagSchema, type Flag } from "@millrace/protocol";
import type { StoredFlag } from "@millrace/store";
import type { ControlContext } from "./control-context.ts";

export async function listFlags({ store }: ControlContext): Promise<{ flags: Flag[] }> {
  return { flags: (await store.settings.listFlags()).map(flagMessage) };
}

export function flagMessage({ updatedAtMs, ...flag }: StoredFlag): Flag {
  return create(FlagSchema, { ...flag, updatedAt: timestampFromMs(updatedAtMs) });
}
