import { expect, test } from "vitest";
import type { Store } from "./store.ts";
import { readSchema } from "./testing/read-schema.ts";
import { eachDatabase } from "./testing/each-database.ts";

eachDatabase((openTestStore) => {
  test("down takes everything back, and up again gives the same schema", async () => {
    await using store: Store = await openTestStore();
    const first = await readSchema(store);
    expect(first.length).toBeGreaterThan(40);
    await store.migrate({ down: 1 });
    expect(await readSchema(store)).not.toEqual(first);
    await store.migrate({ down: 10 });
    expect(await readSchema(store)).toEqual([]);
    await store.migrate();
    expect(await readSchema(store)).toEqual(first);
  });

  test("migrating twice changes nothing", async () => {
    await using store = await openTestStore();
    const first = await readSchema(store);
    await store.migrate();
    expect(await readSchema(store)).toEqual(first);
  });
});
