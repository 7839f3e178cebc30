import { globSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { root } from "./source-graph.ts";

const skipped = /^(node_modules|\.git|\.millrace|coverage|target)$/;
const text = /\.(ts|mjs|cjs|js|json|ya?ml|md|sql|proto|toml|sh|c|h|rs|txt|html|css)$|^\.(ci|git|npm|ox)/;
const maxFileBytes = 2 << 20;

/** What ties a checkout to one machine or one network. Written in brackets, so that this file does not find itself. */
const ties: Readonly<Record<string, RegExp>> = {
  "a path of one machine": /(?<![\w.:*-])[/](?:home|Users|root|work)[/]\w/,
  "a package registry": /\bregistry[.][\w-]+[.]\w|[/]-[/][\w.-]+[.]tgz/,
  "a Windows drive": /["'`][A-Z]:[\\]{1,2}\w/,
};

it("no file is tied to a machine or a registry", () => {
  const files = globSync(["**/*", ".*", ".ci/*"], { cwd: root, exclude: (name) => skipped.test(path.basename(name)) })
    .filter((file) => text.test(path.basename(file)))
    .filter((file) => statSync(path.join(root, file)).isFile() && statSync(path.join(root, file)).size < maxFileBytes);
  expect(files.length).toBeGreaterThan(100);
  const found = files.flatMap((file) =>
    readFileSync(path.join(root, file), "utf8")
      .split("\n")
      .flatMap((line, index) =>
        Object.entries(ties)
          .filter(([, pattern]) => pattern.test(line))
          .map(([tie]) => `${file}:${index + 1} has ${tie}`),
      ),
  );
  expect(found).toEqual([]);
});
