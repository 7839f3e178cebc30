import type { JsonObject } from "@bufbuild/protobuf";

/** What a record came to: a result, or the reason why it was refused. */
export type DemoOutcome =
  | { readonly accepted: true; readonly category: string; readonly output: JsonObject }
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
  /** What a job's output says. @throws Error when it is not of the plugin's form */
  read(output: JsonObject): DemoOutcome;
  /** The same, computed from the record alone. */
  compute(record: JsonObject): DemoOutcome;
}
