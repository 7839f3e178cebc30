import type { JsonObject } from "@bufbuild/protobuf";

/** What a record came to: the plugin's output, or the reason why it refused the record. */
export type DemoOutcome =
  | { readonly accepted: true; readonly output: JsonObject }
  | { readonly accepted: false; readonly reason: string };

/** A public data set, the job type that handles its records, and the same computed here, without Millrace. */
export interface DemoCase {
  readonly title: string;
  /** Which file, of which package. */
  readonly source: string;
  readonly type: string;
  /** Folder of the plugin, to say how to install it. */
  readonly plugin: string;
  /** What the categories are. */
  readonly categoryName: string;
  records(): Promise<readonly JsonObject[]>;
  /** Under which heading an output counts. @throws Error when it is not of the plugin's form */
  categoryOf(output: JsonObject): string;
  /** What the plugin should say, from the record alone. */
  compute(record: JsonObject): DemoOutcome;
}
