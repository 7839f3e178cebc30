import { expect, test } from "vitest";
import { eachDatabase } from "./testing/each-database.ts";

eachDatabase((openTestStore) => {
  test("settings keep any value of JSON, and are replaced and deleted by name", async () => {
    await using store = await openTestStore();
    const values = { b: "text", a: 1.5, c: false, d: ["x", { y: null }], e: null };
    for (const [name, value] of Object.entries(values)) await store.settings.put({ name, value, updatedAtMs: 1000 });
    await store.settings.put({ name: "a", value: 2, updatedAtMs: 2000 });
    await store.settings.delete("b");
    await store.settings.delete("never");
    expect(await store.settings.list()).toEqual([
      { name: "a", value: 2, updatedAtMs: 2000 },
      { name: "c", value: false, updatedAtMs: 1000 },
      { name: "d", value: ["x", { y: null }], updatedAtMs: 1000 },
      { name: "e", value: null, updatedAtMs: 1000 },
    ]);
  });

  test("flags are made and changed by name", async () => {
    await using store = await openTestStore();
    await store.settings.putFlag({ name: "new-page", enabled: true, percent: 10, updatedAtMs: 1000 });
    await store.settings.putFlag({ name: "new-page", enabled: false, percent: 20, updatedAtMs: 2000 });
    expect(await store.settings.listFlags()).toEqual([
      { name: "new-page", enabled: false, percent: 20, updatedAtMs: 2000 },
    ]);
    await store.settings.deleteFlag("new-page");
    await store.settings.deleteFlag("never");
    expect(await store.settings.listFlags()).toEqual([]);
  });
});
