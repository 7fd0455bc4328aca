// Threads that help whoever has a job in many pieces, and that nobody waits for.
//
// A job is done when its pieces are, whoever did them. A thread that the system gives no processor
// to holds up its job only if it has a piece in hand: unlike at the end of an OpenMP region, where
// all must arrive. Between jobs the crew sleeps.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fluxshard {

constexpr int SPINS = 4000;  // some twenty microseconds

// Steps in order, each in `pieces[step]` pieces in any order. Memory that belongs to the caller is
// touched by nothing but `work`, and so by nobody who holds no piece.
struct Job {
  std::vector<int64_t> pieces;
  std::function<void(int64_t step, int64_t piece)> work;
  std::function<void(int64_t step)> finished;  // called by the job's owner
  std::vector<std::atomic<int64_t>> next, done;
  int32_t helpers;  // still wanted; the crew's

  Job(std::vector<int64_t> counts, int32_t wanted)
      : pieces(std::move(counts)), next(pieces.size()), done(pieces.size()), helpers(wanted) {
    for (size_t step = 0; step < pieces.size(); ++step) next[step] = done[step] = 0;
  }

  void run(bool owner) {
    const int64_t steps = pieces.size();
    for (int64_t step = 0; step < steps; ++step) {
      while (next[step].load(std::memory_order_relaxed) < pieces[step]) {
        const int64_t piece = next[step].fetch_add(1, std::memory_order_relaxed);
        if (piece >= pieces[step]) break;
        work(step, piece);
        done[step].fetch_add(1, std::memory_order_release);
      }
      for (int turn = 0; done[step].load(std::memory_order_acquire) < pieces[step]; ++turn) {
        if (turn >= SPINS) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
      }
      if (owner && finished) finished(step);
    }
  }
};

class Crew {
 public:
  // Runs a job on this thread and on its helpers; returns when it is done.
  void run(const std::shared_ptr<Job>& job) {
    if (job->helpers <= 0) return job->run(true);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (; members_ < std::min(job->helpers, MOST); ++members_)
        std::thread([this] { serve(); }).detach();
      jobs_.push_back(job);
    }
    wanted_.notify_all();
    job->run(true);
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), job));
  }

 private:
  static constexpr int32_t MOST = 64;

  std::shared_ptr<Job> take() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      for (const auto& job : jobs_)
        if (job->helpers > 0) {
          --job->helpers;
          return job;
        }
      wanted_.wait(lock);
    }
  }

  [[noreturn]] void serve() {
    while (true) take()->run(false);
  }

  std::mutex mutex_;
  std::condition_variable wanted_;
  std::vector<std::shared_ptr<Job>> jobs_;
  int32_t members_ = 0;
};

// Never destroyed, as its threads never end. A forked process has none of them: it gets its own.
static Crew& crew() {
  static Crew* all = nullptr;
  static std::once_flag once;
  std::call_once(once, [] {
    all = new Crew;
    pthread_atfork(nullptr, nullptr, [] { all = new Crew; });
  });
  return *all;
}

// Runs `work(step, piece)` for so many pieces of every step, one step after the other.
static void run_pieces(std::vector<int64_t> pieces, int32_t threads,
                       std::function<void(int64_t, int64_t)> work,
                       std::function<void(int64_t)> finished = nullptr) {
  const auto job = std::make_shared<Job>(std::move(pieces), threads - 1);
  job->work = std::move(work);
  job->finished = std::move(finished);
  crew().run(job);
}

}  // namespace fluxshard
