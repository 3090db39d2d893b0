// Sharing tasks among threads: one team for the whole process, whoever calls.
#pragma once

#include <cstdint>

namespace vgen {

// Calls work(body, task, thread) for every task below `tasks`, each once, on up to `threads` threads; threads are
// numbered from 0. Which thread has which task is open, so a result must not depend on it.
void share_tasks(int64_t tasks, int threads, void (*work)(const void *, int64_t, int), const void *body);

// The same for a function object: body(task, thread). It must not throw.
template <class Body>
inline void parallel(int64_t tasks, int threads, const Body &body) {
  auto work = [](const void *of, int64_t task, int thread) { (*static_cast<const Body *>(of))(task, thread); };
  share_tasks(tasks, threads, work, &body);
}

}  // namespace vgen
