import path from "node:path";
import { describe, expect, it } from "vitest";
import { mayImport, outsideModules, owners, pure } from "./package-rules.ts";
import { isWorkspace, packageOf, readPackages, unscoped, type WorkspacePackage } from "./source-graph.ts";

const packages = readPackages();

/** `file: specifier` of every import that breaks a rule; the list is the failure message. */
function offences(
  breaks: (specifier: string, file: string, owner: WorkspacePackage) => boolean,
  only: "production" | "all" = "all",
): string[] {
  return packages.flatMap((owner) =>
    [...owner.files.values()]
      .filter(({ file }) => only === "all" || owner.production.has(file))
      .flatMap(({ file, imports }) =>
        imports.filter((specifier) => breaks(specifier, file, owner)).map((specifier) => `${file}: ${specifier}`),
      ),
  );
}

const isRelative = (specifier: string): boolean => specifier.startsWith(".");
const isNode = (specifier: string): boolean => specifier.startsWith("node:");

describe("imports between packages", () => {
  it("reads the sources", () => {
    expect(packages.length).toBeGreaterThan(10);
    for (const { name, production } of packages) expect(production.size, name).toBeGreaterThan(0);
  });

  it("has a rule for every package", () => {
    expect(packages.map(({ name }) => name).toSorted()).toEqual(Object.keys(mayImport).toSorted());
  });

  it("run downwards only", () => {
    const broken = offences(
      (specifier, _, owner) => isWorkspace(specifier) && !mayImport[owner.name]?.includes(unscoped(specifier)),
      "production",
    );
    expect(broken).toEqual([]);
  });

  it("have no cycle", () => {
    const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
      (mayImport[from] ?? []).some((next) => {
        if (next === to) return true;
        if (seen.has(next)) return false;
        return reaches(next, to, seen.add(next));
      });
    expect(Object.keys(mayImport).filter((name) => reaches(name, name))).toEqual([]);
  });

  it("go through what a package exports", () => {
    const exported = new Set(packages.flatMap(({ exportPaths }) => [...exportPaths]));
    expect(offences((specifier) => isWorkspace(specifier) && !exported.has(specifier))).toEqual([]);
  });

  it("keep what is for tests out of production", () => {
    expect(offences((specifier) => isWorkspace(specifier) && specifier.endsWith("/testing"), "production")).toEqual([]);
  });
});

describe("imports inside a package", () => {
  it("name a file, with its extension", () => {
    const broken = offences((specifier) => isRelative(specifier) && !/\.(ts|json)$/.test(specifier));
    expect(broken).toEqual([]);
  });

  it("stay inside", () => {
    const leaves = (specifier: string, file: string, owner: WorkspacePackage): boolean =>
      isRelative(specifier) && !path.posix.join(path.posix.dirname(file), specifier).startsWith(`${owner.folder}/`);
    expect(offences(leaves)).toEqual([]);
  });
});

describe("third-party packages", () => {
  it("have one importer, where they are a boundary", () => {
    const broken = offences((specifier, _, owner) => {
      const allowed = owners[packageOf(specifier)];
      return allowed !== undefined && !allowed.includes(owner.name);
    }, "production");
    expect(broken).toEqual([]);
  });

  it("are declared by the package that imports them", () => {
    const declares = (owner: WorkspacePackage, name: string, file: string): boolean => {
      if (owner.dependencies.has(name)) return true;
      if (owner.production.has(file)) return false;
      // The whole workspace shares its test tools.
      return owner.devDependencies.has(name) || name === "vitest" || name === "fast-check";
    };
    const broken = offences(
      (specifier, file, owner) =>
        !isRelative(specifier) && !isNode(specifier) && !declares(owner, packageOf(specifier), file),
    );
    expect(broken).toEqual([]);
  });

  it("are declared only where they are used", () => {
    const unused = packages.flatMap(({ folder, dependencies, files }) => {
      // Data packages are looked up by name, not imported; types come without being named.
      const text = [...files.values()].map((file) => file.text).join("\n");
      return [...dependencies]
        .filter((name) => !name.startsWith("@types/") && !text.includes(`"${name}"`) && !text.includes(`"${name}/`))
        .map((name) => `${folder}: ${name}`);
    });
    expect(unused).toEqual([]);
  });

  it("leave the pure packages pure", () => {
    const broken = offences(
      (specifier, _, owner) => pure.includes(owner.name) && outsideModules.has(specifier),
      "production",
    );
    expect(broken).toEqual([]);
  });
});
