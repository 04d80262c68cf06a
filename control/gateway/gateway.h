// The whole gateway, put together from a model: started in the order of the layers, stopped in reverse. Owned by
// main(), or by a test binary that passes another clock.
#pragma once

#include <memory>

#include "config/load.h"
#include "config/model.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/result.h"

namespace sluice {

class Gateway {
 public:
  // Everything up and answering, workers running; on error nothing is left behind. `clock` outlives it.
  // `machine` is what the model was loaded for; reloads are checked against it too.
  static Result<std::unique_ptr<Gateway>> start(std::shared_ptr<const config::Model> model, config::Machine machine,
                                                const Clock& clock);
  ~Gateway();

  // The control thread's loop: returns after SIGTERM or SIGINT (orderly end). SIGHUP reloads the configuration.
  void run();

 private:
  struct State;
  explicit Gateway(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice
