// The team of threads. OpenMP has a team per calling thread, whose members spin when there is nothing to do; here
// another runtime's threads want the same few cores. These wait for a moment, which is as long as the next kernel of a
// network lets them wait, and then sleep.
#include "parallel.h"

#include <atomic>
#include <climits>
#include <linux/futex.h>
#include <mutex>
#include <new>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace vgen {
namespace {

constexpr int SPINS = 2000;  // some 30 microseconds

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Team {
 public:
  // Does all tasks of a job; alone if the team is at work for another thread.
  void run(int64_t tasks, int threads, void (*work)(const void *, int64_t, int), const void *body) {
    if (threads <= 1 || tasks <= 1 || !busy_.try_lock()) {
      for (int64_t task = 0; task < tasks; task++) work(body, task, 0);
      return;
    }
    hire(threads - 1);
    job_ = {tasks, threads, work, body};
    next_ = 0;
    joined_ = 1;
    open_ = true;
    called_++;
    if (asleep_ > 0) wake(threads - 1);
    help(0);
    open_ = false;
    for (int spins = 0; at_work_ > 0; spins++) spins < SPINS ? pause() : std::this_thread::yield();
    busy_.unlock();
  }

 private:
  struct Job {
    int64_t tasks;
    int threads;
    void (*work)(const void *, int64_t, int);
    const void *body;
  };

  void hire(int members) {
    try {
      for (; members_ < members; members_++) std::thread([this] { member(); }).detach();
    } catch (const std::system_error &) {
      // no more threads to be had: those that are here do it
    }
  }

  void help(int thread) {
    for (int64_t task = next_++; task < job_.tasks; task = next_++) job_.work(job_.body, task, thread);
  }

  [[noreturn]] void member() {
    uint32_t seen = called_ - 1;  // the job this member was hired for may be open
    for (;;) {
      seen = wait_for_call(seen);
      at_work_++;  // first this, then the look whether the job is open: who called waits for all that are at work
      if (open_) {
        const int thread = joined_++;
        if (thread < job_.threads) help(thread);
      }
      at_work_--;
    }
  }

  uint32_t wait_for_call(uint32_t seen) {
    for (int spins = 0; spins < SPINS && called_ == seen; spins++) pause();
    while (called_ == seen) {
      asleep_++;
      syscall(SYS_futex, &called_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
      asleep_--;
    }
    return called_;
  }

  void wake(int members) { syscall(SYS_futex, &called_, FUTEX_WAKE_PRIVATE, members, nullptr, nullptr, 0); }

  std::mutex busy_;
  Job job_{};
  std::atomic<uint32_t> called_{1};
  std::atomic<int64_t> next_{0};
  std::atomic<int> joined_{0}, at_work_{0}, asleep_{0};
  std::atomic<bool> open_{false};
  int members_ = 0;
};

// Never destroyed: its members run until the process ends. A child that was forked has none, so it makes its own.
Team &team() {
  static std::atomic<Team *> current{new Team};
  static std::atomic<pid_t> owner{getpid()};
  const pid_t self = getpid();
  if (owner != self) {
    current = new Team;
    owner = self;
  }
  return *current;
}

}  // namespace

void share_tasks(int64_t tasks, int threads, void (*work)(const void *, int64_t, int), const void *body) {
  if (threads <= 1 || tasks <= 1) {
    for (int64_t task = 0; task < tasks; task++) work(body, task, 0);
    return;
  }
  team().run(tasks, threads, work, body);
}

}  // namespace vgen
