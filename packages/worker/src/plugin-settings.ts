import { z } from "@millrace/service-kit";
import { defaultMemoryPages } from "./worker-options.ts";

/** What a process that runs plugins is told of them, alone or with everything else in it. */
export const pluginSettings = {
  pluginSignatures: z
    .enum(["optional", "required"])
    .default("optional")
    .describe("Whether plugins must be signed by a trusted key; a signature that is there must always verify"),
  pluginMemoryPages: z
    .number()
    .int()
    .min(1)
    .max(65_536)
    .default(defaultMemoryPages)
    .describe("Memory that a call of a plugin gets at most, whatever its manifest asks for, in pages of 64 KiB"),
  secretsFile: z
    .string()
    .optional()
    .describe("File with secrets for plugins: YAML or JSON, readable by its owner only"),
};
