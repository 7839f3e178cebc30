/** The code in README and docs/ runs: every `sh` and `ts` block, in order, against a running system. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "./lib/process.ts";
import { startStandaloneProcess } from "./lib/standalone.ts";

let system: Awaited<ReturnType<typeof startStandaloneProcess>>;
const scratch = mkdtempSync(join(import.meta.dirname, ".docs-"));

beforeAll(async () => {
  system = await startStandaloneProcess();
}, 120_000);

afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await system?.[Symbol.asyncDispose]();
}, 60_000);

interface Block {
  readonly language: "sh" | "ts";
  readonly line: number;
  readonly code: string;
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  for (const match of text.matchAll(/^```(sh|ts)\n([\s\S]*?)^```$/gm)) {
    const [, language, code] = match;
    if ((language === "sh" || language === "ts") && code !== undefined) {
      blocks.push({ language, code, line: text.slice(0, match.index).split("\n").length });
    }
  }
  return blocks;
}

async function run(block: Block, name: string): Promise<{ code: number | null; output: string }> {
  const file = join(scratch, `${name}.${block.language === "sh" ? "sh" : "ts"}`);
  const code = block.code
    .replaceAll("http://127.0.0.1:8080", system.httpUrl)
    .replaceAll("127.0.0.1:9090", system.grpcAddress)
    .replaceAll("nats://127.0.0.1:4222", system.natsUrl)
    // The same command, without looking for the toolchain first.
    .replaceAll("npm run -s millrace --", "node packages/cli/src/main.ts");
  // A reader's curl may fail quietly; the test's must not.
  writeFileSync(
    file,
    block.language === "sh" ? `set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n${code}` : code,
  );
  const child = spawn(block.language === "sh" ? "bash" : process.execPath, [file], {
    cwd: root,
    env: {
      ...process.env,
      NATS_URL: system.natsUrl,
      MILLRACE_URL: system.httpUrl,
      MILLRACE_DATA_DIR: system.dataDir,
      // A page says once where it comes from.
      TOKEN: system.token,
    },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [exit] = (await once(child, "close")) as [number | null];
  return { code: exit, output };
}

const pages = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

describe.each(pages)("%s", (page) => {
  const blocks = blocksOf(readFileSync(join(root, page), "utf8"));
  it.runIf(blocks.length > 0)(`has ${blocks.length} blocks that run`, { timeout: 180_000 }, async () => {
    for (const block of blocks) {
      const { code, output } = await run(block, `${page.replaceAll(/\W/g, "-")}-${block.line}`);
      expect(code, `${page}:${block.line} ended with ${code}\n${output}`).toBe(0);
      expect(output, `${page}:${block.line}`).not.toMatch(/"error":\s*\{"code"/);
    }
  });

  it("links to files that exist", () => {
    const text = readFileSync(join(root, page), "utf8");
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      expect(existsSync(join(root, page, "..", target ?? "")), `${page} → ${target}`).toBe(true);
    }
  });
});
