/**
 * Generates `src/gen` from `proto/`. With `--check` it changes nothing, lints the contract, and fails when what is
 * committed differs from what would be generated.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";

const root = join(import.meta.dirname, "../../..");
const proto = join(root, "proto");
const committed = join(import.meta.dirname, "../src/gen");

function buf(...args: string[]): void {
  const bin = join(root, "node_modules/.bin");
  execFileSync(join(bin, "buf"), args, {
    cwd: proto,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` },
  });
}

function template(out: string): string {
  return JSON.stringify({
    version: "v2",
    plugins: [{ local: "protoc-gen-es", out, opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"] }],
  });
}

function files(folder: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    out.set(relative(folder, path), readFileSync(path, "utf8"));
  }
  return out;
}

const isCheck = process.argv.includes("--check");
if (isCheck) {
  buf("lint");
  buf("format", "--diff", "--exit-code");
}
const fresh = mkdtempSync(join(tmpdir(), "millrace-gen-"));
try {
  buf("generate", "--template", template(fresh));
  const want = files(fresh);
  const have = files(committed);
  const drift = [...new Set([...want.keys(), ...have.keys()])].filter((name) => want.get(name) !== have.get(name));
  if (isCheck && drift.length > 0) {
    console.error(
      `generated code differs from proto/: ${drift.join(", ")}\nrun: node packages/protocol/scripts/generate.ts`,
    );
    process.exitCode = 1;
  } else if (!isCheck) {
    // Only what differs, once all of it is there: what runs meanwhile finds its modules.
    for (const name of drift) {
      if (want.has(name)) cpSync(join(fresh, name), join(committed, name));
      else rmSync(join(committed, name));
    }
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
