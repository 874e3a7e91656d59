# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where. mount(8) and fstab need no helper of ours: for the type
# fuse.passthroughfs, fuse3's mount.fuse runs `passthroughfs SOURCE MOUNTPOINT -o options`.

if(TARGET passthroughfs)
  install(TARGETS passthroughfs RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# pfs_install_if_present(DESTINATION PATTERN...): parts that other changes bring.
function(pfs_install_if_present destination)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/)
  file(GLOB files CONFIGURE_DEPENDS ${ARGN})
  if(files)
    install(FILES ${files} DESTINATION ${destination})
  endif()
endfunction()

pfs_install_if_present(${CMAKE_INSTALL_MANDIR}/man1 man/*.1)
pfs_install_if_present(${CMAKE_INSTALL_MANDIR}/man8 man/*.8)
# The unit names the program by its full path.
configure_file(${PROJECT_SOURCE_DIR}/systemd/passthroughfs@.service
               ${PROJECT_BINARY_DIR}/systemd/passthroughfs@.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/systemd/passthroughfs@.service DESTINATION lib/systemd/system)
pfs_install_if_present(${CMAKE_INSTALL_DATADIR}/bash-completion/completions completions/passthroughfs)
pfs_install_if_present(${CMAKE_INSTALL_DATADIR}/zsh/site-functions completions/_passthroughfs)
pfs_install_if_present(${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d completions/passthroughfs.fish)
