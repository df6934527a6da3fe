// A LIF layer over a whole sequence, fused by hand: u = (v + x) / 2, s = [u >= 1], v = u where not s.
//
// A block of neurons goes through all time steps while its potentials are in the L1 cache; threads
// share out the blocks. Backward needs the charged potential u alone: u says whether the neuron
// fired, and the ATan surrogate of alpha 2 is 1 / (1 + (pi (u - 1))^2). The reset is a constant.

#include <algorithm>

namespace {

constexpr long block = 2048;
constexpr float half = 0.5f;
constexpr float threshold = 1.0f;
constexpr float pi_squared = 9.8696044f;

template <bool keep>
void forward(const float *currents, float *spikes, float *charged, long steps, long neurons,
             int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < neurons; start += block) {
        const long width = std::min(block, neurons - start);
        float potential[block] = {};
        for (long step = 0; step < steps; ++step) {
            const long row = step * neurons + start;
            const float *x = currents + row;
            float *s = spikes + row;
            float *u = keep ? charged + row : nullptr;
#pragma omp simd
            for (long i = 0; i < width; ++i) {
                const float value = half * potential[i] + half * x[i];
                const bool fires = value >= threshold;
                s[i] = fires ? 1.0f : 0.0f;
                if constexpr (keep) u[i] = value;
                potential[i] = fires ? 0.0f : value;
            }
        }
    }
}

}  // namespace

extern "C" {

// Arrays are [steps, neurons]; charged may be null where no backward follows.
void lif_forward(const float *currents, float *spikes, float *charged, long steps, long neurons,
                 int threads) {
    if (charged) forward<true>(currents, spikes, charged, steps, neurons, threads);
    else forward<false>(currents, spikes, nullptr, steps, neurons, threads);
}

void lif_backward(const float *of_spikes, const float *charged, float *of_currents, long steps,
                  long neurons, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < neurons; start += block) {
        const long width = std::min(block, neurons - start);
        float of_potential[block] = {};
        for (long step = steps - 1; step >= 0; --step) {
            const long row = step * neurons + start;
            const float *g = of_spikes + row;
            const float *u = charged + row;
            float *to = of_currents + row;
#pragma omp simd
            for (long i = 0; i < width; ++i) {
                const float distance = u[i] - threshold;
                const float kept = distance >= 0.0f ? 0.0f : of_potential[i];
                const float total = g[i] / (1.0f + pi_squared * distance * distance) + kept;
                to[i] = half * total;
                of_potential[i] = half * total;
            }
        }
    }
}

}
