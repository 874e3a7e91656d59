# SPDX-License-Identifier: Apache-2.0
# Installs BUILD_DIR below STAGE and starts the installed program once.
file(REMOVE_RECURSE ${STAGE})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${STAGE}
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${STAGE}/${BINDIR}/passthroughfs --version
                OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
string(FIND "${output}" "${VERSION}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "passthroughfs --version says '${output}', not ${VERSION}")
endif()
