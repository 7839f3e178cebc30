import { create } from "@bufbuild/protobuf";
import { PluginManifestSchema } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { StoredPluginVersion } from "./plugin-version.ts";
import { eachDatabase } from "./testing/each-database.ts";

const first = "a".repeat(64);
const second = "b".repeat(64);

function upload(version: string, sha256: string, more: Partial<StoredPluginVersion> = {}): StoredPluginVersion {
  return {
    manifest: create(PluginManifestSchema, { name: "p", version, handlers: [{ type: "t", export: "run" }] }),
    sha256,
    sizeBytes: 5_000_000_000,
    signature: { keyId: "0123456789abcdef", bytes: new Uint8Array([0, 255]) },
    grants: ["http"],
    replaceable: version.includes("-dev"),
    uploadedAtMs: 1_700_000_000_000,
    ...more,
  };
}

eachDatabase((openTestStore) => {
  test("uploads are kept whole, newest first, each plugin for itself", async () => {
    await using store = await openTestStore();
    const uploads = [upload("1.0.0", first), upload("1.1.0", second, { uploadedAtMs: 1_700_000_001_000 })];
    for (const one of uploads) await store.insertPluginVersion(one);
    const unsigned = upload("1.2.0", second, { uploadedAtMs: 1_700_000_002_000, signature: undefined, grants: [] });
    await store.insertPluginVersion(unsigned);
    expect(await store.listPluginVersions("p")).toEqual([unsigned, ...uploads.toReversed()]);
    expect(await store.listPluginVersions("other")).toEqual([]);
  });

  test("a number keeps its module, unless it is replaceable", async () => {
    await using store = await openTestStore();
    await store.insertPluginVersion(upload("1.0.0", first));
    await expect(store.insertPluginVersion(upload("1.0.0", second))).rejects.toMatchObject({ code: "already_exists" });
    await store.insertPluginVersion(upload("1.0.0", first, { grants: ["kv"] }));
    expect((await store.listPluginVersions("p")).map(({ grants }) => grants)).toEqual([["kv"]]);
    await store.insertPluginVersion(upload("2.0.0-dev", first));
    await store.insertPluginVersion(upload("2.0.0-dev", second));
    expect(await store.listPluginVersions("p")).toHaveLength(3);
  });

  test("of two that come at once with one number, one is kept", async () => {
    await using store = await openTestStore();
    const both = [first, second].map((sha256) => store.insertPluginVersion(upload("1.0.0", sha256)));
    const ends = (await Promise.allSettled(both)).map(({ status }) => status).toSorted();
    expect(ends).toEqual(["fulfilled", "rejected"]);
  });

  test("the newest replaceable versions stay, and modules without a row are named", async () => {
    await using store = await openTestStore();
    const hash = (number: number): string => number.toString(16).padStart(64, "0");
    const forgotten: string[] = [];
    for (let build = 0; build < 23; build++) {
      const sha256 = build === 1 ? first : hash(build);
      forgotten.push(
        ...(await store.insertPluginVersion(upload("1.0.0-dev", sha256, { uploadedAtMs: 1_700_000_000_000 + build }))),
      );
      if (build === 1) await store.insertPluginVersion(upload("1.0.0", first));
    }
    expect(forgotten).toEqual([hash(0), hash(2)]);
    expect(await store.listPluginVersions("p")).toHaveLength(21);
  });

  test("a grant is replaced for every version", async () => {
    await using store = await openTestStore();
    await store.insertPluginVersion(upload("1.0.0", first));
    await store.insertPluginVersion(upload("1.1.0", second));
    await store.grantPluginVersions("p", ["kv", "jobs"]);
    expect((await store.listPluginVersions("p")).map(({ grants }) => grants)).toEqual([
      ["kv", "jobs"],
      ["kv", "jobs"],
    ]);
  });
});
