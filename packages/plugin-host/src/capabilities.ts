import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PluginCapabilitiesSchema } from "@millrace/protocol";
import type { Capabilities } from "./host-calls.ts";

/** The capabilities of a manifest, or those granted of it, as loadPlugin takes them. */
export function capabilitiesOf(message: MessageInitShape<typeof PluginCapabilitiesSchema> | undefined): Capabilities {
  const { http = [], kvBytes = 0n, secrets = [], events = [], jobs = [] } = message ?? {};
  return { http: [...http], kvBytes: Number(kvBytes), secrets: [...secrets], events: [...events], jobs: [...jobs] };
}
