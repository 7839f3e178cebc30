import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient as createServiceClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { AuthService, SystemService } from "@millrace/protocol";
import { afterEach, expect, it } from "vitest";
import { bearerLogin } from "./bearer.ts";
import { createClient } from "./client.ts";

const stack: (() => void)[] = [];
afterEach(() => {
  for (const undo of stack.splice(0).toReversed()) undo();
});

/** Signs in ada, and tells in the server's name whom it takes the caller for. */
class Accounts {
  logins = 0;
  refreshes = 0;
  /** Of the tokens that are given out next, in ms. */
  livesMs = 900_000;
  readonly valid = new Set<string>(["mr_program"]);
  #refreshToken = "";

  readonly handle = connectNodeAdapter({
    routes: (router) => {
      router.service(AuthService, {
        login: ({ email, password }) => {
          if (email !== "ada" || password !== "secret") throw new ConnectError("wrong", Code.Unauthenticated);
          this.logins += 1;
          return { tokens: this.#pair() };
        },
        refresh: ({ refreshToken }) => {
          if (refreshToken !== this.#refreshToken) throw new ConnectError("used", Code.Unauthenticated);
          this.refreshes += 1;
          return { tokens: this.#pair() };
        },
      });
      router.service(SystemService, {
        getInfo: (_, { requestHeader }) => {
          const token = requestHeader.get("authorization")?.replace(/^Bearer /, "") ?? "";
          if (!this.valid.has(token)) throw new ConnectError("who?", Code.Unauthenticated);
          return { name: token };
        },
      });
    },
  });

  endSession(): void {
    this.valid.clear();
    this.#refreshToken = "";
  }

  #pair() {
    const accessToken = `access-${this.logins}-${this.refreshes}`;
    this.#refreshToken = `refresh-${this.logins}-${this.refreshes}`;
    this.valid.add(accessToken);
    const accessExpiresAt = timestampFromMs(Date.now() + this.livesMs);
    const refreshExpiresAt = timestampFromMs(Date.now() + 3_600_000);
    return { accessToken, accessExpiresAt, refreshToken: this.#refreshToken, refreshExpiresAt };
  }
}

async function serve(accounts: Accounts): Promise<string> {
  const server = createHttpServer(accounts.handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.push(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const ada = { email: "ada", password: "secret" };

it("sends a token for programs", async () => {
  await using client = createClient({ baseUrl: await serve(new Accounts()), credentials: { token: "mr_program" } });
  expect((await client.system.getInfo({})).name).toBe("mr_program");
});

it("signs in once for many calls, and renews in time", async () => {
  const accounts = new Accounts();
  accounts.livesMs = 10_000; // near its end from the beginning
  await using client = createClient({ baseUrl: await serve(accounts), credentials: ada });
  const names = await Promise.all([1, 2, 3].map(async () => (await client.system.getInfo({})).name));
  expect(new Set(names)).toEqual(new Set(["access-1-0"]));
  accounts.livesMs = 900_000;
  expect((await client.system.getInfo({})).name).toBe("access-1-1");
  expect((await client.system.getInfo({})).name).toBe("access-1-1");
  expect(accounts).toMatchObject({ logins: 1, refreshes: 1 });
});

it("signs in again when the session was ended", async () => {
  const accounts = new Accounts();
  accounts.livesMs = 10_000;
  await using client = createClient({ baseUrl: await serve(accounts), credentials: ada });
  await client.system.getInfo({});
  accounts.endSession();
  accounts.livesMs = 900_000;
  expect((await client.system.getInfo({})).name).toBe("access-2-0");
  accounts.endSession();
  expect((await client.system.getInfo({})).name).toBe("access-3-0");
});

it("tells of a wrong password", async () => {
  const credentials = { email: "ada", password: "wrong" };
  await using client = createClient({ baseUrl: await serve(new Accounts()), credentials });
  await expect(client.system.getInfo({})).rejects.toMatchObject({ code: Code.Unauthenticated, rawMessage: "wrong" });
});

it("says by gRPC who calls", async () => {
  const server = createHttp2Server(new Accounts().handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.push(() => server.close());
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const plain = createGrpcTransport({ baseUrl });
  const system = createServiceClient(
    SystemService,
    createGrpcTransport({ baseUrl, interceptors: [bearerLogin(ada, plain)] }),
  );
  expect((await system.getInfo({})).name).toBe("access-1-0");
});
