// How a step of the run ended. There are no exceptions: whoever is told that the run is over
// returns at once and passes it on.
#pragma once

namespace core {

enum class [[nodiscard]] Progress {
    going,
    stopped, // the trace's last record says why
};

[[nodiscard]] constexpr bool stopped(Progress progress) {
    return progress == Progress::stopped;
}

} // namespace core
