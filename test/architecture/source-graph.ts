import { globSync, readFileSync } from "node:fs";
import path from "node:path";

export const root = path.resolve(import.meta.dirname, "../..");

export interface SourceFile {
  /** Relative to the repository. */
  readonly file: string;
  /** As written: `@millrace/bus`, `node:fs`, `./x.ts`. */
  readonly imports: readonly string[];
  readonly text: string;
}

export interface WorkspacePackage {
  /** Without the scope. */
  readonly name: string;
  readonly folder: string;
  readonly dependencies: ReadonlySet<string>;
  readonly devDependencies: ReadonlySet<string>;
  readonly exportPaths: ReadonlySet<string>;
  readonly files: ReadonlyMap<string, SourceFile>;
  /** What runs in production: reached from the exports (but `./testing`), `main.ts` and the threads they start. */
  readonly production: ReadonlySet<string>;
}

interface Manifest {
  readonly name: string;
  readonly exports?: Record<string, string>;
  readonly bin?: Record<string, string>;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
}

/** Static imports and re-exports at the start of a line, and dynamic ones. */
const importPattern = new RegExp(
  [
    /^[ \t]*(?:import|export)\b[^;'"`]*?\bfrom\s*["']([^"']+)["']/,
    /^[ \t]*import\s*["']([^"']+)["']/,
    /\bimport\(\s*["']([^"']+)["']/,
  ]
    .map(({ source }) => source)
    .join("|"),
  "gm",
);
/** A thread or worker is loaded by URL, or by a path beside the file. */
const siblingPattern = /["'](\.\.?\/[\w./-]+\.ts)["']/g;

/** Reads every package's sources and who imports what. */
export function readPackages(): WorkspacePackage[] {
  return globSync("packages/*/package.json", { cwd: root }).map((file) => readPackage(path.dirname(file)));
}

function readPackage(folder: string): WorkspacePackage {
  const manifest = JSON.parse(readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest;
  const files = new Map<string, SourceFile>();
  const siblings = new Map<string, string[]>();
  for (const file of globSync("src/**/*.ts", { cwd: path.join(root, folder) })) {
    const name = path.posix.join(folder, file);
    const text = readFileSync(path.join(root, name), "utf8");
    files.set(name, {
      file: name,
      text,
      imports: [...text.matchAll(importPattern)].map(([, ...groups]) => groups.find(Boolean) ?? ""),
    });
    siblings.set(
      name,
      [...text.matchAll(siblingPattern)].map(([, target = ""]) => path.posix.join(path.posix.dirname(name), target)),
    );
  }

  const exported = Object.entries(manifest.exports ?? {});
  const entries = [
    ...exported.filter(([name]) => name !== "./testing").map(([, target]) => target),
    ...Object.values(manifest.bin ?? {}),
    "src/main.ts",
  ];
  const production = new Set<string>();
  const queue = entries.map((entry) => path.posix.join(folder, entry));
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (production.has(next) || !files.has(next)) continue;
    production.add(next);
    queue.push(...(siblings.get(next) ?? []));
  }
  return {
    name: unscoped(manifest.name),
    folder,
    dependencies: new Set(Object.keys(manifest.dependencies ?? {})),
    devDependencies: new Set(Object.keys(manifest.devDependencies ?? {})),
    exportPaths: new Set(exported.map(([name]) => path.posix.join(manifest.name, name))),
    files,
    production,
  };
}

/** `@scope/name/deep` → `@scope/name`. */
export function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

export function isWorkspace(specifier: string): boolean {
  return specifier.startsWith("@millrace/");
}

export function unscoped(name: string): string {
  return packageOf(name).replace("@millrace/", "");
}
