import { putText, takeText } from "./host-memory";

@external("millrace:host/secrets", "get")
declare function secrets_get(name: u64): u64;

/** Takes the capability `secrets`, with the secret's name. */
export class Secrets {
  /** Null after a failure, such as a secret that the operator has not set: HostError.last() says why. */
  static get(name: string): string | null {
    const address = secrets_get(putText(name));
    return address == 0 ? null : takeText(address);
  }
}
