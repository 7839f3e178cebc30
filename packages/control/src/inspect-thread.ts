import { fromBinary } from "@bufbuild/protobuf";
import { inspectModule } from "@millrace/plugin-host";
import { PluginManifestSchema, type ErrorDetail } from "@millrace/protocol";

/** To the thread that looks at modules. */
export interface InspectWish {
  readonly module: Uint8Array;
  /** Encoded; undefined to look at the module alone. */
  readonly manifest: Uint8Array | undefined;
}

/** From the thread. */
export interface InspectAnswer {
  /** None: this host can run it. */
  readonly problems: readonly ErrorDetail[];
  /** Names of the functions that can be called, where there are no problems. */
  readonly exports: readonly string[];
}

/** What the thread does. */
export function inspect({ module, manifest }: InspectWish): InspectAnswer {
  const declared = manifest === undefined ? undefined : fromBinary(PluginManifestSchema, manifest);
  const inspection = inspectModule(module, declared);
  if (!inspection.ok) return { problems: inspection.problems, exports: [] };
  return { problems: [], exports: inspection.facts.exports };
}
