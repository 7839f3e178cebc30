// What Emscripten makes of C++: exceptions, virtual calls, the standard library's containers and strings.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
};
struct Square final : Shape {
  explicit Square(double side) : side(side) {}
  double area() const override { return side * side; }
  double side;
};
struct Circle final : Shape {
  explicit Circle(double radius) : radius(radius) {}
  double area() const override { return radius * radius * 3.14159265358979; }
  double radius;
};

std::uint32_t next(std::uint32_t& state) {
  state ^= state << 13;
  state ^= state >> 17;
  return state ^= state << 5;
}

std::uint32_t half(std::uint32_t value) {
  if (value % 2 != 0) throw std::invalid_argument(std::to_string(value));
  return value / 2;
}

}  // namespace

// Throws and catches, through a frame with a destructor.
extern "C" std::uint32_t throwing(std::uint32_t rounds) {
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < rounds * 1000; i++) {
    try {
      std::string kept(i % 40, 'x');
      sum += half(i) + static_cast<std::uint32_t>(kept.size());
    } catch (const std::invalid_argument& error) {
      sum = sum * 31 + static_cast<std::uint32_t>(error.what()[0]);
    }
  }
  return sum;
}

// Words in a tree, sorted by how often they come.
extern "C" std::uint32_t containers(std::uint32_t rounds) {
  std::uint32_t state = 2463534242, sum = 0;
  for (std::uint32_t round = 0; round < rounds; round++) {
    std::map<std::string, std::uint32_t> words;
    for (int i = 0; i < 2000; i++) words["word " + std::to_string(next(state) % 300)]++;
    std::vector<std::pair<std::string, std::uint32_t>> sorted(words.begin(), words.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.second > b.second; });
    for (auto& [word, count] : sorted) sum = sum * 31 + count * static_cast<std::uint32_t>(word.size());
  }
  return sum;
}

extern "C" std::uint32_t dispatching(std::uint32_t rounds) {
  std::uint32_t state = 88172645;
  std::vector<std::unique_ptr<Shape>> shapes;
  for (int i = 0; i < 1000; i++) {
    double size = next(state) % 100;
    if (next(state) % 2 == 0) shapes.push_back(std::make_unique<Square>(size));
    else shapes.push_back(std::make_unique<Circle>(size));
  }
  double sum = 0;
  for (std::uint32_t i = 0; i < rounds * 10; i++)
    for (auto& shape : shapes) sum += shape->area() / (i + 1);
  return static_cast<std::uint32_t>(sum);
}
