export { DebianArchive } from "./debian-archive.ts";
export { debianNats } from "./nats-releases.ts";
export { canCluster, startTestCluster, type TestCluster } from "./test-cluster.ts";
export { startTestNats, TestNats } from "./test-nats.ts";
export { TestStack, type TestStackOptions } from "./test-stack.ts";
export { TestElections, type Election } from "./test-elections.ts";
