import type { Capabilities, PluginLimits } from "@millrace/plugin-host";
import type { JobErrorCode } from "@millrace/protocol";
import { readSource } from "./assemble.ts";
import { slowToCompile } from "./giant-modules.ts";

/** How a call must end: by its own typed failure, and the limit that it ran into if any, or well. */
export type Ending = "succeeds" | { readonly code: JobErrorCode; readonly resource: string };

export interface HostileCall {
  readonly exportName: string;
  readonly input: string;
  readonly ends: Ending;
}

/** A plugin whose calls are made one after the other. */
export interface HostilePlugin {
  readonly name: string;
  readonly bytes: () => Promise<Uint8Array> | Uint8Array;
  readonly limits?: Partial<PluginLimits>;
  readonly granted?: Partial<Capabilities>;
  readonly calls: readonly HostileCall[];
}

const breach = (code: JobErrorCode, resource: string): Ending => ({ code, resource });
export const trapped: Ending = breach("TRAPPED", "");
export const denied: Ending = breach("HOST_DENIED", "");
const failed: Ending = breach("HANDLER_FAILED", "");
const fuel: Ending = breach("OUT_OF_FUEL", "fuel");
const depth: Ending = breach("TRAPPED", "call_depth");
const memory: Ending = breach("OUT_OF_MEMORY", "memory");
const table: Ending = breach("OUT_OF_MEMORY", "table");
const hostMemory: Ending = breach("OUT_OF_MEMORY", "host_memory");
const variables: Ending = breach("OUT_OF_MEMORY", "variables");
const logs: Ending = breach("HOST_DENIED", "logs");
const output: Ending = breach("OUTPUT_TOO_LARGE", "output");
const hostCalls: Ending = breach("HOST_DENIED", "host_calls");

/** Calls of exports, in a text of names, that all end alike. */
export function calls(exportNames: string, ends: Ending, input = ""): HostileCall[] {
  return exportNames.split(" ").map((exportName) => ({ exportName, input, ends }));
}

/** 10 to 25 ms of work. */
const someFuel = { fuel: 100_000_000 };
const source = (name: string) => ({ name, bytes: () => readSource(name), limits: someFuel });
const seek = calls("seek seek seek", "succeeds");

/** Modules from `corpus/`, their exports, and how each must end. Those that need a server are in `http-calls.ts`. */
export const corpus: readonly HostilePlugin[] = [
  {
    ...source("loops"),
    calls: [
      ...calls("loop nested by_branch_table straight_work_in_a_loop", fuel),
      ...calls("direct_recursion mutual_recursion indirect_recursion recursion_that_catches", depth),
      ...calls("tail_recursion mutual_tail_recursion indirect_tail_recursion call_tree", fuel),
      ...calls("catches_and_goes_on throws_from_the_catch", fuel),
    ],
  },
  { ...source("start-loop"), calls: calls("run run", fuel) },
  { ...source("start-recursion"), calls: calls("run", depth) },
  { ...source("start-memory"), calls: calls("run", memory) },
  { ...source("initialize-loop"), calls: calls("run", fuel) },
  { ...source("fat-frames"), calls: [...calls("run", depth), ...calls("catches_the_end", depth)] },
  {
    ...source("memory"),
    limits: { ...someFuel, memoryPages: 64 },
    calls: [
      ...calls("page_by_page all_at_once more_than_there_is grow_and_touch", memory),
      ...calls("asking_for_ever nothing_for_ever", fuel),
    ],
  },
  {
    ...source("tables"),
    limits: { ...someFuel, tableEntries: 5000 },
    calls: [...calls("one_by_one all_at_once", table), ...calls("asking_for_ever", fuel)],
  },
  {
    ...source("bulk"),
    calls: [
      ...calls("memory_fill memory_copy memory_init table_fill table_copy table_init", fuel),
      // Charged before it runs: it never comes to the bounds check.
      ...calls("fill_of_minus_one copy_of_minus_one fill_of_sign_bit", fuel),
    ],
  },
  {
    ...source("traps"),
    calls: calls(
      `unreachable divide_by_zero divide_by_zero_64 remainder_by_zero divide_overflow divide_overflow_64
      load_out_of_bounds load_at_minus_one store_out_of_bounds fill_out_of_bounds copy_out_of_bounds init_out_of_bounds
      init_of_dropped_data call_of_null call_out_of_table call_of_wrong_type table_get_out_of_bounds
      table_set_out_of_bounds table_fill_out_of_bounds table_copy_out_of_bounds init_of_dropped_elements truncate_nan
      truncate_infinity truncate_overflow truncate_negative uncaught_exception uncaught_with_values
      rethrown`.replaceAll(/\s+/g, " "),
      trapped,
    ),
  },
  {
    ...source("c-runaway"),
    limits: { ...someFuel, memoryPages: 64 },
    calls: [
      ...calls("large_frames wild_pointer pointer_of_other_type write_everywhere", trapped),
      ...calls("ackermann_without_end", depth),
      ...calls("heap", memory),
      ...calls("spin", fuel),
    ],
  },
  {
    ...source("exceptions"),
    calls: [
      ...calls("caught_for_ever thrown_again", fuel),
      ...calls("recursion_in_a_try", depth),
      ...calls("uncaught throw_of_null", trapped),
    ],
  },
  {
    ...source("floods"),
    // Blocks and log lines cost fuel, too: enough to get to their limits, some 60 ms of work.
    limits: { fuel: 600_000_000 },
    calls: [
      ...calls("output", output),
      ...calls("log_lines log_bytes log_below_the_level log_of_millrace", logs),
      ...calls("variable variables", variables),
      ...calls("alloc alloc_at_once alloc_of_minus_one alloc_of_the_least alloc_of_nothing", hostMemory),
      ...calls("alloc_and_free variable_copies", hostMemory),
      ...calls("random_for_ever clock_for_ever progress_for_ever one_variable_for_ever config_for_ever", fuel),
      ...calls("standard_output empty_variables context_for_ever", fuel),
      ...calls("output_for_ever errors_for_ever host_reads_for_ever input_for_ever", fuel),
      ...calls("long_name", denied),
    ],
  },
  {
    ...source("bad-addresses"),
    calls: [
      ...calls("output output_of_negative_length error log log_of_millrace progress var_set var_get config", trapped),
      ...calls("input fd_write fd_write_of_bad_vector random clock args exit exit_for_ever", trapped),
      ...calls("caught_for_ever", fuel),
    ],
  },
  {
    ...source("asks"),
    limits: { ...someFuel, hostCalls: 100 },
    granted: { kvBytes: 100_000, secrets: ["flood"], events: ["flood.*", "flood.of.events"], jobs: ["flooded"] },
    calls: [
      ...calls("kv_get kv_set kv_delete kv_list kv_quota_for_ever secrets events jobs", hostCalls),
      ...calls("kv_quota", trapped),
      ...calls("other_secret http catches_the_end", denied, '{"url":"https://example.com"}'),
    ],
  },
  { ...source("ungranted"), calls: calls("kv secrets events jobs http http_of_extism caught", denied) },
  {
    ...source("secrets"),
    calls: [
      ...seek,
      ...calls("hide", "succeeds"),
      ...seek,
      ...calls("hide_and_trap", trapped),
      ...seek,
      ...calls("hide_and_spin", fuel),
      ...seek,
      ...calls("hide_and_fail", failed),
      ...seek,
    ],
  },
  // Another plugin of the same module.
  { ...source("secrets"), name: "secrets-neighbour", calls: [...calls("hide", "succeeds"), ...seek] },
  { ...source("secret-tables"), calls: [...seek, ...calls("hide", "succeeds"), ...seek] },
  { name: "slow-to-compile", bytes: slowToCompile, limits: someFuel, calls: calls("run run", "succeeds") },
];
