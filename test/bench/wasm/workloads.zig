//! What Zig makes of a hash map, sorting, wide integers and formatted text. Each returns a checksum of `rounds` rounds.
const std = @import("std");

var buffer: [1 << 20]u8 = undefined;

/// Counts the words of a pseudo-random text in a hash map.
export fn counting(rounds: u32) u32 {
    var sum: u32 = 0;
    var round: u32 = 0;
    while (round < rounds) : (round += 1) {
        var fixed = std.heap.FixedBufferAllocator.init(&buffer);
        var map = std.AutoHashMap(u32, u32).init(fixed.allocator());
        var random = std.rand.DefaultPrng.init(round);
        var i: u32 = 0;
        while (i < 5000) : (i += 1) {
            const entry = map.getOrPutValue(random.random().uintLessThan(u32, 1000), 0) catch unreachable;
            entry.value_ptr.* += 1;
        }
        var values = map.iterator();
        while (values.next()) |entry| sum +%= entry.key_ptr.* *% entry.value_ptr.*;
    }
    return sum;
}

/// Products of 128-bit numbers, and their digits as text.
export fn digits(rounds: u32) u32 {
    var sum: u32 = 0;
    var value: u128 = 0x123456789abcdef;
    var round: u32 = 0;
    while (round < rounds * 100) : (round += 1) {
        value = value *% 0xda942042e4dd58b5 +% 0x9e3779b97f4a7c15;
        const text = std.fmt.bufPrint(&buffer, "{d}:{x}:{d:.3}", .{ value, value, @as(f64, @floatFromInt(round)) / 7 }) catch unreachable;
        for (text) |char| sum = sum *% 31 +% char;
    }
    return sum;
}

fn lessThan(_: void, a: u64, b: u64) bool {
    return a < b;
}

/// Sorts pseudo-random numbers with the standard library's block sort.
export fn ordering(rounds: u32) u32 {
    var numbers: [4096]u64 = undefined;
    var sum: u32 = 0;
    var round: u32 = 0;
    while (round < rounds) : (round += 1) {
        var random = std.rand.DefaultPrng.init(round);
        for (&numbers) |*number| number.* = random.random().int(u64);
        std.sort.block(u64, &numbers, {}, lessThan);
        sum = sum *% 31 +% @as(u32, @truncate(numbers[2048]));
    }
    return sum;
}
