import { inject } from "vitest";
import { Doors, doorNames, type Door, type DoorName } from "../lib/doors.ts";
import { Rest } from "../lib/rest.ts";

export const secured = inject("secured");

export const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

export const strongPassword = "correct horse battery";

/** A user who has signed in. */
export interface Person {
  readonly id: string;
  readonly email: string;
  readonly access: string;
  readonly refresh: string;
  readonly headers: { readonly authorization: string };
}

let addresses = 0;

/** Where one test file attacks from, with users of its own. */
export class Attacker implements Disposable {
  readonly #name: string;
  readonly #network: number;
  readonly #doors = new Doors(secured);
  #people = 0;

  /** @param network last but one number of its addresses: another for each file */
  constructor(name: string, network: number) {
    this.#name = name;
    this.#network = network;
  }

  /** Header of an address that nobody has called from yet. */
  from(): { "x-forwarded-for": string } {
    addresses++;
    return { "x-forwarded-for": `198.18.${this.#network}.${addresses}` };
  }

  /** One way in, from an address of its own. */
  door(name: DoorName, headers: Readonly<Record<string, string>> = {}): Door {
    return this.#doors.through(name, { ...this.from(), ...headers });
  }

  /** All ways in. */
  doors(headers: Readonly<Record<string, string>> = {}): [DoorName, Door][] {
    return doorNames.map((name) => [name, this.door(name, headers)]);
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${secured.httpUrl}${path}`, { ...init, headers: { ...this.from(), ...init.headers } });
  }

  /** The administrator, who does what the test needs. */
  get administrator(): Rest {
    return new Rest(secured.httpUrl, secured.token);
  }

  /** A new user with these roles, such as `ROLE_VIEWER`, who has signed in. */
  async person(...roles: string[]): Promise<Person> {
    const email = `${this.#name}-${++this.#people}@example.com`;
    const made = await this.expectOk<{ user: { id: string } }>("POST", "/api/v1/users", {
      email,
      roles,
      password: strongPassword,
    });
    return { id: made.user.id, email, ...(await this.signIn(email)) };
  }

  async signIn(email: string, password = strongPassword): Promise<Pick<Person, "access" | "refresh" | "headers">> {
    const response = await this.fetch("/api/v1/auth/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    const { tokens } = (await response.json()) as { tokens?: { accessToken: string; refreshToken: string } };
    if (tokens === undefined) throw new Error(`${email} cannot sign in: ${response.status}`);
    return { access: tokens.accessToken, refresh: tokens.refreshToken, headers: bearer(tokens.accessToken) };
  }

  /** An API token of this person. */
  async token(person: Person, scopes: string[], limits: { queues?: string[]; types?: string[] } = {}) {
    const wish = { name: "attack", scopes, ...limits };
    const made = await this.expectOk<{ secret: string; token: { id: string } }>(
      "POST",
      "/api/v1/tokens",
      wish,
      person.access,
    );
    return { id: made.token.id, secret: made.secret, headers: bearer(made.secret) };
  }

  /** @param token the administrator's when left out */
  async expectOk<T>(verb: string, path: string, body?: unknown, token = secured.token): Promise<T> {
    const answer = await new Rest(secured.httpUrl, token).call<T>(verb, path, body);
    if (answer.status !== 200) throw new Error(`${verb} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  [Symbol.dispose](): void {
    this.#doors[Symbol.dispose]();
  }
}
