import { setTimeout as pause } from "node:timers/promises";
import { connect } from "nats";
import { eventsStream, jobStream, priorityNames, scheduleStream } from "@millrace/protocol";
import type { Dice } from "../../fuzz/dice.ts";
import type { BrokerNode } from "./broker-node.ts";
import type { CheckedSystem } from "./checked-system.ts";
import type { FaultKind, PlannedFault } from "./fault-plan.ts";

/** A client has to leave a connection that has gone half open in this time. */
const halfOpenMs = 20_000;

/**
 * Does one thing to the system, and puts right what an operator or a supervisor would.
 * @returns what it was done to
 */
export async function injectFault(system: CheckedSystem, { kind, dice }: PlannedFault): Promise<string> {
  const { database, services, disk } = system;
  switch (kind) {
    case "kill service": {
      const service = pickService(system, dice);
      await service.kill9();
      await pause(dice.below(4000));
      service.start();
      return service.name;
    }
    case "pause service": {
      const service = pickService(system, dice);
      service.signal("SIGSTOP");
      await pause(1000 + dice.below(18_000));
      service.signal("SIGCONT");
      return service.name;
    }
    case "half open": {
      const [name, proxies] = dice.pick([...system.proxies]);
      for (const proxy of proxies) proxy.silence();
      await pause(halfOpenMs);
      return name;
    }
    case "cut": {
      const [name, proxies] = dice.pick([...system.proxies]);
      for (const proxy of proxies) proxy.cut();
      return name;
    }
    case "kill broker": {
      const broker = await pickBroker(system, dice);
      // In the middle of what is coming in.
      await pause(20 + dice.below(250));
      await broker.kill9();
      await pause(dice.percent(70) ? dice.below(500) : dice.below(6000));
      await broker.start();
      return broker.name;
    }
    case "pause broker": {
      const broker = await pickBroker(system, dice);
      broker.signal("SIGSTOP");
      await pause(1000 + dice.below(14_000));
      broker.signal("SIGCONT");
      return broker.name;
    }
    case "kill postgres": {
      await database.kill9();
      await pause(dice.percent(70) ? dice.below(3000) : dice.below(20_000));
      await database.start();
      return "postgres";
    }
    case "pause postgres": {
      database.pause();
      await pause(1000 + dice.below(12_000));
      database.resume();
      return "postgres";
    }
    case "rolling restart": {
      for (const service of services) {
        await service.stop();
        service.start();
        await service.ready();
      }
      return "all services";
    }
    case "disk full": {
      if (disk === undefined) return "nothing";
      disk.fill();
      await pause(3000 + dice.below(6000));
      disk.clear();
      // nats-server 2.9 does not come back by itself once a write has failed.
      for (const broker of system.brokers) {
        await broker.kill9();
        await broker.start();
      }
      return "the broker's disk";
    }
    case "step down":
      return stepDown(system, dice);
  }
}

/** What is possible on this system. */
export function possibleFaults(system: CheckedSystem): FaultKind[] {
  const always = [
    "kill service",
    "pause service",
    "half open",
    "cut",
    "kill broker",
    "pause broker",
    "kill postgres",
    "pause postgres",
    "rolling restart",
  ] as const;
  return [
    ...always,
    ...(system.disk === undefined ? [] : (["disk full"] as const)),
    ...(system.brokers.length > 1 ? (["step down"] as const) : []),
  ];
}

/** Workers have the most to lose. */
function pickService({ services }: CheckedSystem, dice: Dice): CheckedSystem["services"][number] {
  const workers = services.filter(({ service }) => service === "worker");
  return dice.percent(35) ? dice.pick(workers) : dice.pick(services);
}

/** Of a cluster mostly the leader of a log, as its death is what hurts. */
async function pickBroker(system: CheckedSystem, dice: Dice): Promise<BrokerNode> {
  const { brokers } = system;
  const chosen = dice.pick(brokers);
  const stream = pickLog(dice);
  if (brokers.length === 1 || dice.percent(40)) return chosen;
  const leader = await leaderOf(system, stream).catch(() => undefined);
  return brokers.find(({ name }) => name === leader) ?? chosen;
}

function pickLog(dice: Dice): string {
  return dice.pick([eventsStream, scheduleStream, ...priorityNames.map(jobStream)]);
}

async function leaderOf({ directServers }: CheckedSystem, stream: string): Promise<string | undefined> {
  const connection = await connect({ servers: [...directServers], reconnect: false, timeout: 3000 });
  try {
    const manager = await connection.jetstreamManager();
    return (await manager.streams.info(stream)).cluster?.leader;
  } finally {
    await connection.close();
  }
}

async function stepDown({ directServers }: CheckedSystem, dice: Dice): Promise<string> {
  const stream = pickLog(dice);
  const connection = await connect({ servers: [...directServers], reconnect: false, timeout: 3000 });
  try {
    await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, "", { timeout: 3000 });
  } catch {
    // A cluster that is electing already has nobody who could step down.
  } finally {
    await connection.close();
  }
  return stream;
}
