/** Workloads of the metering bench in AssemblyScript: each export takes a number of rounds and returns a checksum. */

export function mandelbrot(rounds: i32): i32 {
  let inside = 0;
  for (let round = 0; round < rounds; round++) {
    for (let y = 0; y < 64; y++) {
      for (let x = 0; x < 64; x++) {
        const re = <f64>x / 32.0 - 1.5;
        const im = <f64>y / 32.0 - 1.0;
        let a = 0.0;
        let b = 0.0;
        let step = 0;
        while (step < 100 && a * a + b * b < 4.0) {
          const next = a * a - b * b + re;
          b = 2.0 * a * b + im;
          a = next;
          step++;
        }
        if (step == 100) inside++;
      }
    }
  }
  return inside;
}

function fibonacci(n: i32): i32 {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

export function recursion(rounds: i32): i32 {
  let sum = 0;
  for (let round = 0; round < rounds; round++) sum += fibonacci(22 + (round & 1));
  return sum;
}

class Body {
  constructor(
    public x: f64,
    public y: f64,
    public vx: f64,
    public vy: f64,
    public mass: f64,
  ) {}
}

export function bodies(rounds: i32): f64 {
  const all = new Array<Body>();
  for (let index = 0; index < 8; index++) {
    all.push(new Body(<f64>index, <f64>(index * index) * 0.5, 0.0, 0.1, 1.0 + <f64>index));
  }
  for (let round = 0; round < rounds * 100; round++) {
    for (let i = 0; i < all.length; i++) {
      const one = all[i];
      for (let j = 0; j < all.length; j++) {
        if (i == j) continue;
        const other = all[j];
        const dx = other.x - one.x;
        const dy = other.y - one.y;
        const distance = dx * dx + dy * dy + 0.01;
        const pull = (other.mass * 0.0001) / (distance * Math.sqrt(distance));
        one.vx += dx * pull;
        one.vy += dy * pull;
      }
    }
    for (let i = 0; i < all.length; i++) {
      const one = all[i];
      one.x += one.vx;
      one.y += one.vy;
    }
  }
  return all[3].x + all[5].y;
}

export function sieve(rounds: i32): i32 {
  const size = 1 << 16;
  const composite = new Uint8Array(size);
  let primes = 0;
  for (let round = 0; round < rounds; round++) {
    composite.fill(0);
    primes = 0;
    for (let n = 2; n < size; n++) {
      if (composite[n]) continue;
      primes++;
      for (let multiple = n * 2; multiple < size; multiple += n) composite[multiple] = 1;
    }
  }
  return primes;
}
