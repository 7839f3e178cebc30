import { meter } from "../meter.ts";
import { ModuleRefused } from "../module-refused.ts";
import { Random } from "./random-program.ts";

const MUTANTS = 8;

/**
 * Meters variants of a module with some bytes changed, inserted or lost. Each must come out valid, or be refused with a place
 * inside of it: returns "metered" or the refusal's code for each.
 *
 * @throws Error when one is neither
 */
export function mutateAndMeter(module: Uint8Array, seed: number): string[] {
  const random = new Random(seed);
  return Array.from({ length: MUTANTS }, () => {
    const mutant = mutate(module, random);
    try {
      const metered = meter(mutant, { memoryPages: 10, tableEntries: 100 });
      if (!WebAssembly.validate(metered.module)) throw new Error("the metered module is not valid");
      return "metered";
    } catch (error) {
      if (!(error instanceof ModuleRefused)) throw error;
      if (!(error.offset >= 0 && error.offset <= mutant.length))
        throw new Error(`offset ${error.offset}`, { cause: error });
      return error.code;
    }
  });
}

function mutate(module: Uint8Array, random: Random): Uint8Array {
  const bytes = [...module];
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = 8 + random.below(Math.max(1, bytes.length - 8));
    switch (random.below(6)) {
      case 0:
        bytes.splice(at, 1);
        break;
      case 1:
        bytes.splice(at, 0, random.below(256));
        break;
      case 2:
        bytes[at] = random.below(256);
        break;
      default:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    }
  }
  return Uint8Array.from(bytes);
}
