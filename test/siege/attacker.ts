/** `attacker.ts <name> <from> <httpPort> <grpcPort>`: one attack in a process of its own, until its input ends. */
import { setPriority } from "node:os";
import { AttackGround } from "./attack-ground.ts";
import { attacks, type AttackName } from "./attacks.ts";

// Who attacks has a machine of their own, and must not take this one's processors from the gateway.
setPriority(19);
const [name = "", from = "", httpPort, grpcPort] = process.argv.slice(2);
const ground = new AttackGround(Number(httpPort), Number(grpcPort), from);
void attacks[name as AttackName](ground, () => process.stdout.write("\n"));
process.stdin.resume().once("end", () => {
  process.stdout.write(ground.report(), () => process.exit());
});
